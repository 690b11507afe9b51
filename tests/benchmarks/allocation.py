"""What a budget shared out over the layers keeps, against the same solver everywhere the same, at equal size.

    python -m tests.benchmarks.allocation [MODEL] [--calibration FILE] [--text FILE] [--bits B …] [--uniform TAG …]

Measures the sensitivity of every linear layer to the solver's treatments (error feedback, 2 to 8 bits in groups of 128)
on windows of the calibration text, allocates at each number of bits per weight, carries the recipes out, and judges
them on the held-out text: 48 windows of 256 tokens. Uniform recipes are judged likewise; at the size of an allocation,
KL is interpolated between the two uniform ones beside it on their lower convex hull, in logarithms over bits.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from dataclasses import replace
from itertools import pairwise

from benchvise.core.engine import answer
from benchvise.core.methods.calibration import Calibration
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.budget import BITS, Budget
from benchvise.core.protocol.requests import Allocate, MeasureSensitivity
from benchvise.core.protocol.results import Allocated, Sensitivity
from benchvise.core.recipe.recipe import Recipe, Rule
from benchvise.core.recipe.treatment_text import parse_treatment_text
from tests.benchmarks.quality import SHARED, measured

LADDER = [f"int{bits} g128 asym gptq" for bits in (2, 3, 4, 5, 6, 8)]
UNIFORM = [f"int{bits} g{size} asym gptq" for bits in (2, 3, 4, 5) for size in (128, 32)]
SIZES = [3.0, 3.5, 4.0, 4.5]
Point = tuple[float, float]


def hull(points: list[Point]) -> list[Point]:
    """Those of (bits, log KL) that no straight line between two others passes below."""
    kept: list[Point] = []
    for x, y in sorted(points):
        while len(kept) > 1 and (kept[-1][1] - kept[-2][1]) * (x - kept[-2][0]) >= (y - kept[-2][1]) * (
            kept[-1][0] - kept[-2][0]
        ):
            kept.pop()
        kept.append((x, y))
    return kept


def interpolated(points: list[Point], bits: float) -> float:
    """The KL of the best uniform recipe at that size."""
    line = hull([(size, math.log(kl)) for size, kl in points])
    for (x0, y0), (x1, y1) in pairwise(line):
        if x0 <= bits <= x1:
            return math.exp(y0 + (y1 - y0) * (bits - x0) / (x1 - x0))
    return math.nan


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHARED / "models" / "yardstick"))
    parser.add_argument("--calibration", default=str(SHARED / "data" / "wiki" / "calibration.txt"))
    parser.add_argument("--text", default=str(SHARED / "data" / "wikitext-2" / "dev.txt"))
    parser.add_argument("--bits", nargs="+", type=float, default=SIZES)
    parser.add_argument("--uniform", nargs="*", default=UNIFORM)
    parser.add_argument("--candidates", nargs="+", default=LADDER)
    parser.add_argument("--workspace", default="", help="keeps the sensitivities for another time")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    base = Recipe(calibration=Calibration(text=arguments.calibration))
    candidates = tuple(map(parse_treatment_text, arguments.candidates))
    with tempfile.TemporaryDirectory() as temporary:
        workspace = arguments.workspace or temporary
        started = time.perf_counter()
        request = MeasureSensitivity(
            arguments.model, arguments.calibration, candidates, (), 16, 256, workspace, correct=True,
            calibration=base.calibration,
        )  # fmt: skip
        known = answer(request, NullProgress())
        assert isinstance(known, Sensitivity)
        print(f"sensitivity: {len(known.cells)} cells in {time.perf_counter() - started:.0f} s", flush=True)
        uniform = []
        for tag in arguments.uniform:
            recipe = replace(base, rules=(Rule(("linears",), parse_treatment_text(tag)),))
            row = measured(tag, recipe, arguments.model, arguments.text)
            uniform.append((row.bits_per_weight, row.kl_mean))
            print(
                f"uniform {tag}: {row.bits_per_weight:.3f} bits, KL {row.kl_mean:.5f}, {row.seconds:.0f} s", flush=True
            )
        rows = []
        for bits in arguments.bits:
            ask = Allocate(arguments.model, base, known.key, candidates, Budget(BITS, bits), workspace=workspace)
            allocated = answer(ask, NullProgress())
            assert isinstance(allocated, Allocated)
            row = measured(f"{bits:g} bpw", allocated.recipe, arguments.model, arguments.text)
            best = interpolated(uniform, row.bits_per_weight)
            rows.append(
                {
                    "budget": bits,
                    "bits_per_weight": row.bits_per_weight,
                    "predicted": allocated.kl.value,
                    "kl": row.kl_mean,
                    "uniform": best,
                    "ratio": row.kl_mean / best,
                    "seconds": row.seconds,
                }
            )
            print(json.dumps(rows[-1]), flush=True)
    if arguments.json:
        return
    print("| budget | bits/weight | KL predicted | KL measured | measured ÷ predicted | best uniform | ratio |")
    print("|---|---|---|---|---|---|---|")
    for each in rows:
        print(
            f"| {each['budget']:g} | {each['bits_per_weight']:.3f} | {each['predicted']:.5f} | **{each['kl']:.5f}** | "
            f"{each['kl'] / each['predicted']:.2f} | {each['uniform']:.5f} | **{each['ratio']:.2f}** |"
        )


if __name__ == "__main__":
    main()
