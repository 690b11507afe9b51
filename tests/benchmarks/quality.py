"""What each method keeps of a model, at which size and in which time: the table method × bits.

    python -m tests.benchmarks.quality [MODEL] [--calibration FILE] [--text FILE] [--presets NAME …] [--steps N]
                                       [--json]

Compresses MODEL (default: the yardstick beside the project) by each preset with the calibration text, and judges it on
the held-out text: 48 windows of 256 tokens, KL divergence to the original, perplexity, top-1 agreement. Bits per weight
are those of the treated layers, scales, zero points and code books counted. Seconds are those of the whole job; the
process is warmed up by rounding to nearest first. CPU seconds are those of all its threads. With --steps, tuning takes
that number of steps instead of the preset's.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.evaluate.evaluate import evaluate
from benchvise.core.job.job import compress
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Evaluate
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe

SHARED = Path(__file__).parents[3] / "shared"
PRESETS = [
    f"{method}-int{bits}-g128" for bits in (4, 3, 2) for method in ("nearest", "hqq", "awq", "gptq", "autoround")
] + [f"{kind}-{bits}bit" for kind in ("quick", "best") for bits in (4, 3, 2)]


@dataclass(frozen=True)
class Row:
    preset: str
    bits_per_weight: float
    kl_mean: float
    kl_p99: float
    perplexity: float
    top1_agreement: float
    seconds: float
    cpu_seconds: float


def recipe_of(name: str, calibration: str) -> Recipe:
    """The preset with that text; "nearest-intB-g128" is the AWQ preset's scheme with nothing but rounding."""
    if name.startswith("nearest-"):
        recipe = load_preset(name.replace("nearest", "awq"))
        rules = tuple(
            replace(rule, treatment=replace(rule.treatment, solver=type(rule.treatment.solver)()))
            for rule in recipe.rules
        )
        recipe = replace(recipe, transforms=(), rules=rules)
    else:
        recipe = load_preset(name)
    return replace(recipe, calibration=replace(recipe.calibration, text=calibration))


def with_steps(recipe: Recipe, steps: int) -> Recipe:
    """The recipe whose tuning steps take so many optimiser steps; as it is for 0."""
    return replace(recipe, tuning=tuple(replace(step, steps=steps) for step in recipe.tuning)) if steps else recipe


def measured(name: str, recipe: Recipe, model: str, text: str) -> Row:
    """The recipe carried out in a workspace of its own, and judged on the text."""
    bits = make_plan(open_checkpoint(model), recipe).bits_per_treated_weight
    with tempfile.TemporaryDirectory() as workspace:
        started = time.process_time()
        run = compress(Compress(model, recipe, workspace), NullProgress())
        cpu = time.process_time() - started
        found = evaluate(Evaluate(f"run:{run.run}", text, against=model, workspace=workspace), NullProgress())
    assert found.kl_mean is not None
    assert found.kl_p99 is not None
    assert found.top1_agreement is not None
    assert found.perplexity is not None
    return Row(name, bits, found.kl_mean, found.kl_p99, found.perplexity, found.top1_agreement, run.seconds, cpu)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHARED / "models" / "yardstick"))
    parser.add_argument("--calibration", default=str(SHARED / "data" / "wiki" / "calibration.txt"))
    parser.add_argument("--text", default=str(SHARED / "data" / "wikitext-2" / "dev.txt"))
    parser.add_argument("--presets", nargs="+", default=PRESETS)
    parser.add_argument("--steps", type=int, default=0)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    measured("", recipe_of(PRESETS[0], arguments.calibration), arguments.model, arguments.text)
    if not arguments.json:
        print(f"{torch.get_num_threads()} threads")
        print(
            "| preset | bits/weight | KL mean | KL p99 | perplexity | top-1 | seconds | CPU seconds |"
            "\n|---|---|---|---|---|---|---|---|"
        )
    for name in arguments.presets:
        recipe = with_steps(recipe_of(name, arguments.calibration), arguments.steps)
        row = measured(name, recipe, arguments.model, arguments.text)
        if arguments.json:
            print(json.dumps(asdict(row)), flush=True)
            continue
        print(
            f"| `{row.preset}` | {row.bits_per_weight:.3f} | {row.kl_mean:.5f} | {row.kl_p99:.4f} | "
            f"{row.perplexity:.2f} | {row.top1_agreement:.4f} | {row.seconds:.0f} | {row.cpu_seconds:.0f} |",
            flush=True,
        )


if __name__ == "__main__":
    main()
