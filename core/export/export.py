"""A run, or a folder that was written from one, as a checkpoint that a named runtime loads."""

from __future__ import annotations

import filecmp
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, OutputError
from benchvise.core.export.compressed_layout import quantization_config
from benchvise.core.export.export_plan import Outline, choose_outline, outline_of_plan
from benchvise.core.export.folder import check_output, output_folder, require_space
from benchvise.core.export.layers import check_written, write_layers
from benchvise.core.export.loader_modules import linear_modules
from benchvise.core.export.provenance import (
    FOLDER,
    RUN,
    Provenance,
    provenance_of_folder,
    provenance_of_run,
    run_of_export,
)
from benchvise.core.export.sharded_writer import ShardedWriter, bytes_needed, write_file
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Export
from benchvise.core.protocol.results import Exported
from benchvise.core.recipe.plan import Plan
from benchvise.core.weights.open import open_weights, run_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import RUN_PREFIX, Workspace

_CONFIG = "config.json"
_QUANTIZATION_KEYS = ("quantization_config", "compression_config")


@dataclass(frozen=True)
class _Source:
    """Where an export comes from: `run` is None when it is a folder."""

    weights: Weights
    run: RunRecord | None

    def inputs(self) -> list[Path]:
        """What is read, and so never written to."""
        workspace = [self.run.folder, *self.run.layer_files.values()] if self.run is not None else []
        return [Path(self.weights.checkpoint.path), *workspace]

    def provenance(self, outline: Outline) -> Provenance:
        if self.run is not None:
            return provenance_of_run(self.run, self.weights, outline.target, outline.warnings)
        return provenance_of_folder(Path(self.weights.checkpoint.path), outline.target, outline.warnings)


def export(request: Export, progress: Progress) -> Exported:
    """Write the run as `request.target` ("auto" chooses) into `request.out`, which appears whole or not at all.

    Raises OutputError for a place that cannot be written to, UserError or CheckpointError for a run that cannot be
    read, and Cancelled; nothing is left behind then.
    """
    source = _open(request)
    weights = source.weights
    checkpoint = weights.checkpoint
    out = check_output(request.out, source.inputs())
    outline = _accepted(choose_outline(request.target, checkpoint, weights.treatment, _modules(checkpoint)))
    for warning in outline.warnings:
        progress.note(warning)
    companions = _companions(checkpoint)
    provenance = source.provenance(outline)
    texts = sum(len(text.encode()) for text in provenance.files.values())
    needed = bytes_needed(outline.tensors()) + sum(path.stat().st_size for path in companions) + texts
    with output_folder(out) as folder:
        require_space(folder, needed)
        _write(folder, outline, weights, companions, provenance, progress)
        check_written(folder, outline, weights, progress)
        exported = _exported(out, folder, outline)
    if source.run is not None:
        Workspace(request.workspace).record_measurement(source.run.id, exported)
    return exported


def written_before(request: Export, progress: Progress) -> Exported | None:
    """What `export` would return, when an earlier process already wrote it: the folder is this run's, and whole.

    Every value is compared. None when anything else lies there, or nothing. Raises as `export` does for the run.
    """
    out = Path(request.out).expanduser().resolve()
    source = _open(request)
    if source.run is None or run_of_export(out) != source.run.id:
        return None
    checkpoint = source.weights.checkpoint
    outline = _accepted(choose_outline(request.target, checkpoint, source.weights.treatment, _modules(checkpoint)))
    if not _holds(out, outline, source.weights, progress):
        return None
    exported = _exported(out, out, outline)
    if not any(known["out"] == exported.out for known in source.run.measurements().get("exports", [])):
        source.run.add_measurement(exported)
    return exported


def _holds(out: Path, outline: Outline, weights: Weights, progress: Progress) -> bool:
    """Whether the folder holds the weights, the companions and the config that would be written, and nothing else."""
    try:
        described = json.loads((out / FOLDER / RUN).read_text(encoding="utf-8"))
        config = (out / _CONFIG).read_text(encoding="utf-8") if (out / _CONFIG).exists() else ""
        companions = _companions(weights.checkpoint)
        same = all(filecmp.cmp(path, out / path.name, shallow=False) for path in companions)
        if not same or described["target"] != outline.target or config != config_text(outline):
            return False
        check_written(out, outline, weights, progress, every_layer=True)
    except (OSError, ValueError, KeyError, RuntimeError, CheckpointError):
        return False
    return True


def _companions(checkpoint: Checkpoint) -> list[Path]:
    return [Path(path) for path in checkpoint.companions if Path(path).name != _CONFIG]


def foresee(plan: Plan, target: str) -> Outline:
    """What an export of the finished plan will be. Raises OutputError when the target cannot hold it."""
    return _accepted(outline_of_plan(plan, target, _modules(plan.checkpoint)))


def _open(request: Export) -> _Source:
    folder = Path(request.run).expanduser()
    if request.run.startswith(RUN_PREFIX) or not folder.is_dir():
        run = Workspace(request.workspace).run(request.run)
        return _Source(run_weights(run), run)
    weights = open_weights(str(folder), request.workspace)
    if weights.checkpoint.quantization is None and not (folder / FOLDER / RUN).is_file():
        raise CheckpointError(
            "The folder holds an original checkpoint, not a run",
            where=str(folder),
            remedy="Name a run of the workspace, or a folder that `benchvise compress --out` wrote.",
        )
    return _Source(weights, None)


def _modules(checkpoint: Checkpoint) -> frozenset[str] | None:
    return linear_modules(checkpoint.config) if checkpoint.architecture else None


def _accepted(outline: Outline) -> Outline:
    if outline.refusal:
        where = outline.checkpoint.path
        raise OutputError(outline.refusal, where=where, remedy="Export to the target 'dense' instead.")
    return outline


def _write(
    folder: Path,
    outline: Outline,
    weights: Weights,
    companions: list[Path],
    provenance: Provenance,
    progress: Progress,
) -> None:
    with ShardedWriter(folder, outline.tensors()) as files:
        write_layers(outline, weights, files, progress)
    for path in companions:
        shutil.copyfile(path, folder / path.name)
    config = config_text(outline)
    if config:
        write_file(folder / _CONFIG, config)
    if provenance.files:
        (folder / FOLDER).mkdir()
        for name, text in provenance.files.items():
            write_file(folder / FOLDER / name, text)


def config_text(outline: Outline) -> str:
    """The checkpoint's config, saying how its layers are now quantised; "" when it has none."""
    config = _unquantised(outline.checkpoint.config)
    packed = outline.packed()
    if packed:
        config["quantization_config"] = quantization_config(packed, outline.dense_modules())
    return json.dumps(config, indent=2, ensure_ascii=False) + "\n" if config else ""


def _unquantised(config: dict[str, object]) -> dict[str, object]:
    plain = {key: value for key, value in config.items() if key not in _QUANTIZATION_KEYS}
    text = plain.get("text_config")
    if isinstance(text, dict):
        plain["text_config"] = {key: value for key, value in text.items() if key not in _QUANTIZATION_KEYS}
    return plain


def _exported(out: Path, folder: Path, outline: Outline) -> Exported:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return Exported(
        out=str(out),
        target=outline.target,
        bytes_on_disk=sum(path.stat().st_size for path in files),
        files=tuple(path.relative_to(folder).as_posix() for path in files),
        warnings=outline.warnings,
    )
