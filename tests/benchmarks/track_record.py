"""Forecast against measured, over a dozen recipes: size, KL, decode latency, peak memory and time of the job.

    python -m tests.benchmarks.track_record [MODEL] [TEXT] [CALIBRATION] [--windows 16] [--no-kl] [--json]

MODEL is compressed by each recipe with CALIBRATION and judged on TEXT (defaults: the yardstick beside the project and
its texts). All of it happens in a fresh workspace: each recipe is forecast, carried out, judged and timed, and then the
workspace's own track record is printed. The process is warmed up by one run that does not count.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from dataclasses import asdict, replace
from pathlib import Path

from benchvise.app.text.track_record import TITLES, summary_text
from benchvise.core.engine import answer
from benchvise.core.errors import UserError
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.budget import BITS as BITS_PER_WEIGHT
from benchvise.core.protocol.budget import Budget
from benchvise.core.protocol.requests import (
    Allocate,
    Compress,
    Evaluate,
    ForecastJob,
    ForecastLatency,
    MeasureLatency,
    MeasureSensitivity,
)
from benchvise.core.protocol.results import Allocated, Evaluation, Run, Sensitivity
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Treatment
from benchvise.core.workspace.forecasts import track_record
from benchvise.core.workspace.workspace import Workspace

SHARED = Path(__file__).parents[3] / "shared"
SILENT = NullProgress()
PRESETS = (
    "int8-channel", "int4-g128", "int3-g64-clip", "nf4-g64", "mxfp4", "hqq-int4-g128", "hqq-int3-g128",
    "awq-int4-g128", "gptq-int4-g128", "gptq-int3-g128", "autoround-int4-g128", "best-3bit",
)  # fmt: skip
"""Streamed, searched, scaled, fed back, learned and polished."""

ALLOCATED = (
    (("gptq-int2-g128", "gptq-int3-g128", "gptq-int4-g128"), (2.75, 3.0, 3.5, 4.0)),
    (("int3-g64-clip", "int4-g128", "int4-g32-asym-clip", "int8-channel"), (3.5, 4.0, 4.5, 5.0)),
)
"""Candidates, and the bits per weight at which they are shared out."""
STEPS, POLISH_STEPS = 10, 4


def recipe_of(name: str, calibration: Calibration) -> Recipe:
    """The preset with that text, and with few steps of what learns."""
    recipe = replace(load_preset(name), calibration=calibration)
    rules = tuple(replace(rule, treatment=quick(rule.treatment)) for rule in recipe.rules)
    tuning = tuple(replace(step, steps=POLISH_STEPS) for step in recipe.tuning)
    return replace(recipe, rules=rules, tuning=tuning)


def quick(treatment: Treatment) -> Treatment:
    """The same with few steps of learning."""
    solver = treatment.solver
    return replace(treatment, solver=replace(solver, steps=STEPS)) if isinstance(solver, LearnedRounding) else treatment


def allocated(model: str, text: str, calibration: Calibration, workspace: str) -> list[Recipe]:
    """Recipes whose KL was forecast: the sensitivities of some treatments, corrected, and budgets shared out on them.

    The engine keeps the KL that `Allocate` forecasts of a recipe once that is carried out.
    """
    recipes = []
    for presets, sizes in ALLOCATED:
        treatments = tuple(load_preset(preset).rules[0].treatment for preset in presets)
        base = replace(recipe_of(presets[-1], calibration), name="allocated")
        measured = answer(
            MeasureSensitivity(
                model, text, treatments, windows=8, window_tokens=256, workspace=workspace, method="enable_one",
                correct=True, calibration=calibration, seed=base.seed,
            ),
            SILENT,
        )  # fmt: skip
        assert isinstance(measured, Sensitivity)
        for bits in sizes:
            ask = Allocate(model, base, measured.key, treatments, Budget(BITS_PER_WEIGHT, bits), workspace=workspace)
            found = answer(ask, SILENT)
            assert isinstance(found, Allocated)
            recipes.append(replace(found.recipe, name=f"allocated {bits:g} bits"))
    return recipes


def carried_out(model: str, text: str, recipe: Recipe, workspace: str) -> str:
    """Forecast, run, judge and time one recipe; what a person is told."""
    answer(ForecastJob(model, recipe, workspace=workspace), SILENT)
    answer(ForecastLatency(model, recipe, workspace=workspace), SILENT)
    run = answer(Compress(model, recipe, workspace), SILENT)
    assert isinstance(run, Run)
    source = f"run:{run.run}"
    judged = answer(Evaluate(source, text, model, windows=24, workspace=workspace), SILENT)
    assert isinstance(judged, Evaluation)
    answer(MeasureLatency(source, model, workspace=workspace), SILENT)
    compared = Workspace(workspace).run(run.run).comparisons()
    errors = ", ".join(f"{TITLES[each.kind].lower()} {each.error:+.0%}" for each in compared)
    return f"{recipe.name}: {run.seconds:.1f} s; {errors}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHARED / "models" / "yardstick"))
    parser.add_argument("text", nargs="?", default=str(SHARED / "data" / "wikitext-2" / "dev.txt"))
    parser.add_argument("calibration", nargs="?", default=str(SHARED / "data" / "wiki" / "calibration.txt"))
    parser.add_argument("--windows", type=int, default=16, help="of calibration text (16)")
    parser.add_argument("--presets", nargs="*", default=PRESETS)
    parser.add_argument("--no-kl", action="store_true", help="leave sensitivities and allocated recipes out")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    calibration = Calibration(arguments.calibration, arguments.windows, 256)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as warm:
        carried_out(arguments.model, arguments.text, recipe_of("gptq-int4-g128", replace(calibration, windows=2)), warm)
    with tempfile.TemporaryDirectory() as workspace:
        recipes = [recipe_of(name, calibration) for name in arguments.presets]
        if not arguments.no_kl:
            recipes += allocated(arguments.model, arguments.text, calibration, workspace)
        for recipe in recipes:
            try:
                told = carried_out(arguments.model, arguments.text, recipe, workspace)
            except UserError as error:
                told = f"{recipe.name}: {error}"
            if not arguments.json:
                print(told, flush=True)
        runs = Workspace(workspace).runs()
    records = track_record(each for run in runs for each in run.comparisons)
    if arguments.json:
        print(json.dumps([asdict(record) for record in records]))
        return
    print(f"\n{len(runs)} runs in {time.monotonic() - started:.0f} s\n")
    print("| forecast | runs | median error | worst error | within target | in the range |\n|---|---|---|---|---|---|")
    for each in records:
        print(
            f"| {TITLES[each.kind]} | {each.runs} | {each.median_error:.1%} | {each.worst_error:.1%} | "
            f"{each.within} of {each.runs} (± {each.target:.0%}) | {each.inside} of {each.runs} |"
        )
    print(f"\n{summary_text(records)}.")


if __name__ == "__main__":
    main()
