"""GGUF types on a real network, ours beside llama.cpp's own quantiser, each judged by llama.cpp too.

    python -m tests.benchmarks.gguf_quality [MODEL] [--presets gguf-q4_k …] [--nearest] [--windows 48] [--json]

Compresses MODEL (default: the yardstick beside the project) by each preset, or by rounding its type to nearest with
--nearest, exports a GGUF file and judges it on the held-out text: KL divergence to the original in the workbench, and
of what llama.cpp computes from the file. Beside it llama.cpp's quantiser on the same layers, without and with an
importance matrix over the calibration text (the mean square of each input, as llama-imatrix counts); none for mixes.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import torch
from gguf import GGMLQuantizationType, quants
from torch import Tensor, nn

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.evaluate.divergence import kl_divergence, log_probabilities
from benchvise.core.evaluate.text import text_windows
from benchvise.core.export.export import export
from benchvise.core.job.job import compress
from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Export
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.llama_cpp import ask
from benchvise.core.weights.open import open_weights
from tests.benchmarks.gguf_encoding import llama_cpp, theirs
from tests.benchmarks.quality import SHARED

NEEDS_IMPORTANCE = ("iq2_xxs", "iq2_xs", "iq1_s")
CALIBRATION_WINDOWS, BATCH = 64, 8


@dataclass(frozen=True)
class Row:
    """KL in nats per token; None where llama.cpp has no such quantiser."""

    name: str
    bits_per_weight: float
    llama_cpp: float | None
    llama_cpp_importance: float | None
    ours: float
    ours_through_llama_cpp: float
    seconds: float


class Judge:
    """The original's answers on the held-out windows."""

    def __init__(self, model: str, text: str, calibration: str, windows: int) -> None:
        checkpoint = open_checkpoint(model)
        self.model = load_model(open_weights(model))
        self.ids = text_windows(checkpoint, text, windows, 256).ids
        self.original = [log_probabilities(logits) for logits in self._logits(self.model)]
        self.weights = {name: module.weight.data.clone() for name, module in self._linears()}
        self.importance = self._mean_squares(text_windows(checkpoint, calibration, CALIBRATION_WINDOWS, 256).ids)
        self.library: ctypes.CDLL = llama_cpp()

    def of_run(self, run: str, workspace: str) -> float:
        return self._mean(self._logits(load_model(open_weights(run, workspace))))

    def of_file(self, file: Path) -> float:
        answers = ask.logits(file, self.ids.tolist())
        return self._mean(torch.from_numpy(np.stack(list(batch))) for batch in _batched(answers))

    def of_llama_cpp(self, kind: GgufName, *, importance: bool) -> float | None:
        """The layers rounded by llama.cpp's quantiser."""
        if not importance and kind in NEEDS_IMPORTANCE:
            return None
        for name, module in self._linears():
            squares = self.importance[name] if importance else None
            raw = theirs(self.library, kind, self.weights[name].contiguous(), squares, 1)
            decoded = quants.dequantize(raw.numpy(), GGMLQuantizationType[TYPES[kind].title])
            module.weight.data = torch.from_numpy(decoded.astype(np.float32))
        found = self._mean(self._logits(self.model))
        for name, module in self._linears():
            module.weight.data = self.weights[name]
        return found

    def _linears(self) -> Iterator[tuple[str, nn.Linear]]:
        for name, module in self.model.named_modules():
            if isinstance(module, nn.Linear) and name != "lm_head":
                yield name, module

    @torch.no_grad()
    def _logits(self, model: nn.Module) -> Iterator[Tensor]:
        for start in range(0, len(self.ids), BATCH):
            yield model(self.ids[start : start + BATCH]).logits.float()

    def _mean(self, answers: Iterator[Tensor]) -> float:
        parts = [
            kl_divergence(ours, log_probabilities(logits)) for ours, logits in zip(self.original, answers, strict=True)
        ]
        return float(torch.cat([part.flatten() for part in parts]).mean())

    @torch.no_grad()
    def _mean_squares(self, ids: Tensor) -> dict[str, Tensor]:
        sums = {name: torch.zeros(module.in_features) for name, module in self._linears()}

        def observer(name: str, module: nn.Linear) -> torch.utils.hooks.RemovableHandle:
            def add(_: nn.Module, inputs: tuple[Tensor, ...], __: Tensor) -> None:
                sums[name] += inputs[0].reshape(-1, inputs[0].shape[-1]).square().sum(0)

            return module.register_forward_hook(add)

        hooks = [observer(name, module) for name, module in self._linears()]
        for start in range(0, len(ids), BATCH):
            self.model(ids[start : start + BATCH])
        for hook in hooks:
            hook.remove()
        return {name: values / ids.numel() for name, values in sums.items()}


def _batched(answers: Iterator[np.ndarray]) -> Iterator[list[np.ndarray]]:  # type: ignore[type-arg]
    batch: list[np.ndarray] = []  # type: ignore[type-arg]
    for answer in answers:
        batch.append(answer)
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


def recipe_of(name: str, calibration: str, *, nearest: bool) -> Recipe:
    recipe = load_preset(name)
    if nearest:
        treated = [replace(rule.treatment, solver=Nearest(clip_search=True)) for rule in recipe.rules]
        rules = tuple(
            Rule(rule.targets, each if "scale" in each.scheme.capabilities else Treatment(each.scheme))
            for rule, each in zip(recipe.rules, treated, strict=True)
        )
        return replace(recipe, rules=rules, tuning=())
    return replace(recipe, calibration=replace(recipe.calibration, text=calibration))


def measured(name: str, recipe: Recipe, model: str, judge: Judge) -> Row:
    bits = make_plan(open_checkpoint(model), recipe).bits_per_treated_weight
    kind = name.removeprefix("gguf-")
    pure = kind if kind in TYPES else None
    with tempfile.TemporaryDirectory() as workspace:
        run = compress(Compress(model, recipe, workspace), NullProgress())
        file = Path(workspace) / "x.gguf"
        export(Export(run.run, "gguf", str(file), workspace), NullProgress())
        ours, through = judge.of_run(f"run:{run.run}", workspace), judge.of_file(file)
    rivals = [None if pure is None else judge.of_llama_cpp(pure, importance=each) for each in (False, True)]
    return Row(name, bits, *rivals, ours, through, run.seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHARED / "models" / "yardstick"))
    parser.add_argument("--calibration", default=str(SHARED / "data" / "wiki" / "calibration.txt"))
    parser.add_argument("--text", default=str(SHARED / "data" / "wikitext-2" / "dev.txt"))
    parser.add_argument("--presets", nargs="+", default=["gguf-q4_k", "gguf-q3_k", "gguf-q2_k", "gguf-iq4_xs"])
    parser.add_argument("--nearest", action="store_true")
    parser.add_argument("--windows", type=int, default=48)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    judge = Judge(arguments.model, arguments.text, arguments.calibration, arguments.windows)
    if not arguments.json:
        print("| preset | bits/weight | llama.cpp | … with importance | ours | through llama.cpp | seconds |")
        print("|---|---|---|---|---|---|---|")
    for name in arguments.presets:
        recipe = recipe_of(name, arguments.calibration, nearest=arguments.nearest)
        row = measured(name, recipe, arguments.model, judge)
        if arguments.json:
            print(json.dumps(asdict(row)), flush=True)
            continue
        rivals = ["–" if each is None else f"{each:.5f}" for each in (row.llama_cpp, row.llama_cpp_importance)]
        print(
            f"| `{name}` | {row.bits_per_weight:.3f} | {' | '.join(rivals)} | {row.ours:.5f} | "
            f"{row.ours_through_llama_cpp:.5f} | {row.seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
