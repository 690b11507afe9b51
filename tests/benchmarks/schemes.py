"""Error feedback against nearest rounding on every scheme, and importance-weighted k-means against plain.

    python -m tests.benchmarks.schemes [MODEL] [--calibration FILE] [--text FILE]

Judged as `tests.benchmarks.quality` judges: KL divergence to the original on held-out text.
"""

from __future__ import annotations

import argparse
import tempfile
from dataclasses import replace

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.evaluate.evaluate import evaluate
from benchvise.core.job.job import compress
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.outliers import Outliers
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Evaluate
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from tests.benchmarks.quality import SHARED

SCHEMES: tuple[Scheme, ...] = (
    Integer(bits=3, symmetric=False, group_size=128),
    Integer(bits=3, group_size=128),
    NonLinear(bits=4, group_size=128),
    Codebook(kind="normal_float", bits=4, group_size=64, granularity="group"),
    Codebook(kind="quantile", bits=3, granularity="channel"),
    Codebook(kind="kmeans", bits=3, granularity="channel"),
    VectorCodebook(),
    Outliers(bits=3),
    Floating(),
    Microscaling(),
    NvFloat4(),
)


def divergence(scheme: Scheme, solver: Solver, arguments: argparse.Namespace) -> tuple[float, float]:
    """Bits per weight and mean KL."""
    recipe = Recipe((Rule(("linears",), Treatment(scheme, solver), ("role:lm_head",)),))
    recipe = replace(recipe, calibration=replace(recipe.calibration, text=arguments.calibration))
    bits = make_plan(open_checkpoint(arguments.model), recipe).bits_per_treated_weight
    with tempfile.TemporaryDirectory() as workspace:
        run = compress(Compress(arguments.model, recipe, workspace), NullProgress())
        request = Evaluate(f"run:{run.run}", arguments.text, against=arguments.model, workspace=workspace)
        found = evaluate(request, NullProgress()).kl_mean
    assert found is not None
    return bits, found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", nargs="?", default=str(SHARED / "models" / "yardstick"))
    parser.add_argument("--calibration", default=str(SHARED / "data" / "wiki" / "calibration.txt"))
    parser.add_argument("--text", default=str(SHARED / "data" / "wikitext-2" / "dev.txt"))
    arguments = parser.parse_args()
    print("| scheme | bits/weight | nearest | error feedback | ratio |\n|---|---|---|---|---|")
    for scheme in SCHEMES:
        bits, plain = divergence(scheme, Nearest(), arguments)
        _, fed = divergence(scheme, ErrorFeedback(), arguments)
        print(f"| {scheme.tag} | {bits:.3f} | {plain:.5f} | {fed:.5f} | {fed / plain:.2f} |", flush=True)
    kmeans = Codebook(kind="kmeans", bits=3, granularity="channel")
    _, plain = divergence(kmeans, Nearest(), arguments)
    _, weighted = divergence(kmeans, Nearest(clip_search=True, importance=True), arguments)
    print(f"k-means weighted by importance, nearest: {weighted:.5f} against {plain:.5f} unweighted")


if __name__ == "__main__":
    main()
