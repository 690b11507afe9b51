"""Any checkpoint that opens, written in a format that a named runtime loads, with the values that it has."""

from __future__ import annotations

from pathlib import Path

from benchvise.core.errors import CheckpointError, OutputError
from benchvise.core.export.choose_target import accepted, key_for
from benchvise.core.export.export import ExportSource, write_source
from benchvise.core.export.loadable_plan import loadable_plan
from benchvise.core.export.targets.dense import Dense
from benchvise.core.export.targets.registry import AUTO, candidates, target_of
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Convert
from benchvise.core.protocol.results import Exported
from benchvise.core.runtime.tokenizer import load_tokenizer
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights


def convert(request: Convert, progress: Progress) -> Exported:
    """Write the checkpoint at `request.path` as `request.target` to `request.out`, whole or not at all.

    The tokenizer and config that lie within a GGUF file become files of their own. Raises CheckpointError for a
    checkpoint that cannot be read, OutputError for a place that cannot be written to, or a target that cannot hold the
    values as they are, and Cancelled; nothing is left behind then.
    """
    weights = open_weights(request.path)
    checkpoint = weights.checkpoint
    key = key_for(request.target, request.out)
    key = Dense.key if key == AUTO else key
    packed = any(not weights.treatment(layer).keeps for layer in checkpoint.layers)
    asked = candidates(key) or [target_of(key)]
    taken = [target for target in asked if packed or target.takes_dense]
    if taken:
        key = key if packed else taken[0].key
    else:
        raise OutputError(
            "The layers of this checkpoint are on no grid that this format holds",
            where=checkpoint.path,
            remedy="Convert it with `--to dense`, or compress it with `benchvise compress`.",
        )
    plan = accepted(loadable_plan(key, weights))
    beside = any(Path(path).name.startswith("tokenizer") for path in checkpoint.companions)
    within = checkpoint.kind == "gguf" and not beside and target_of(plan.target).companions

    def write_tokenizer(folder: Path) -> None:
        _write_tokenizer(folder, weights, progress)

    return write_source(ExportSource(weights, None), plan, request.out, progress, write_tokenizer if within else None)


def _write_tokenizer(folder: Path, weights: Weights, progress: Progress) -> None:
    try:
        load_tokenizer(weights.checkpoint).save_pretrained(str(folder))
    except (CheckpointError, OSError, ValueError) as error:
        progress.note(f"The tokenizer within the file could not be written: {str(error)[:300]}")
