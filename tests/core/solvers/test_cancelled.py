"""Every solver hears a cancel while it works on one matrix."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import pytest
import torch
from torch import nn

from benchvise.core.blockwise.block_run import Arguments, BlockRun
from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.compress.whole_matrix import solve_matrix
from benchvise.core.errors import Cancelled
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.microscaling import NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.outliers import Outliers
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.block import BlockLayer
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.learned_rounding import learned_rounding
from benchvise.core.solvers.solution import InputStatistics

ROWS, COLUMNS = 1024, 1024
CLIP, WEIGHED = Nearest(clip_search=True), Nearest(clip_search=True, importance=True)


class CancelledAt(NullProgress):
    """Cancels at the check of this number."""

    def __init__(self, number: int) -> None:
        self.left = number

    def check_cancelled(self) -> None:
        self.left -= 1
        if self.left <= 0:
            raise Cancelled


@pytest.fixture(scope="module")
def weight() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(0)).bfloat16()


@pytest.mark.parametrize(
    ("scheme", "solver", "number"),
    [
        (Integer(), ErrorFeedback(), 60),
        (Codebook(granularity="channel"), ErrorFeedback(passes=0, order="columns"), 60),
        (Integer(symmetric=False, zero_points="float"), HalfQuadratic(), 20),
        (Integer(), CLIP, 8),
        (Integer(), WEIGHED, 20),
        (Integer(granularity="tensor"), CLIP, 20),
        (Integer(granularity="block"), CLIP, 20),
        (Outliers(), WEIGHED, 20),
        (Codebook(kind="normal_float"), CLIP, 20),
        (Codebook(kind="kmeans"), Nearest(), 20),
        (VectorCodebook(), Nearest(), 60),
        (NonLinear(), Nearest(), 20),
        (NvFloat4(), CLIP, 20),
        (Floating(), CLIP, 20),
    ],
    ids=lambda value: value.tag if isinstance(value, Scheme) else getattr(value, "key", ""),
)
def test_a_matrix_is_left_at_the_next_check(weight: torch.Tensor, scheme: Scheme, solver: Solver, number: int) -> None:
    progress = CancelledAt(number)
    statistics = InputStatistics(torch.eye(COLUMNS), 100)
    with pytest.raises(Cancelled):
        solve_matrix(weight, Treatment(scheme, solver), statistics, replace(NULL_CONTEXT, progress=progress))
    assert progress.left == 0


class CancelledByAThread(NullProgress):
    def __init__(self) -> None:
        self.working, self.cancelled = threading.Event(), threading.Event()

    def check_cancelled(self) -> None:
        self.working.set()
        if self.cancelled.is_set():
            raise Cancelled


def test_another_thread_can_cancel_error_feedback(weight: torch.Tensor) -> None:
    progress = CancelledByAThread()
    statistics, context = InputStatistics(torch.eye(COLUMNS), 100), replace(NULL_CONTEXT, progress=progress)
    with ThreadPoolExecutor(1) as pool:
        solving = pool.submit(solve_matrix, weight, Treatment(Integer(), ErrorFeedback()), statistics, context)
        assert progress.working.wait(30)
        progress.cancelled.set()
        assert isinstance(solving.exception(30), Cancelled)


def test_learned_rounding_is_left_between_steps() -> None:
    weight = torch.randn(64, 64, generator=torch.Generator().manual_seed(0))
    block = nn.Sequential(nn.Linear(64, 64, bias=False)).requires_grad_(False)
    scheme = Integer(group_size=32)
    initial = solve_matrix(weight, Treatment(scheme, CLIP), None, NULL_CONTEXT)
    layer = Layer("0", TensorEntry("0.weight", "float32", (64, 64), "", 0, weight.nbytes), "linear", "linear", None)
    run = BlockRun(block, 0, lambda _windows, _tokens: Arguments((), {}))
    hidden = torch.randn(4, 8, 64)
    progress = CancelledAt(20)
    members = [BlockLayer(layer, "0.weight", scheme, LearnedRounding(steps=10_000), weight, initial, None)]
    with pytest.raises(Cancelled):
        learned_rounding(run, members, [hidden], [hidden @ weight.T], replace(NULL_CONTEXT, progress=progress))
    assert progress.left == 0
