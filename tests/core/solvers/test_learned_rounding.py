"""Learned rounding against exhaustive search, and as part of a job."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from benchvise.core.blockwise.block_run import Arguments, BlockRun
from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.block import BlockLayer
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.learned_rounding import learned_rounding
from benchvise.core.solvers.nearest import nearest_matrix
from benchvise.core.solvers.solution import InputStatistics, Solution
from tests.core.blockwise.calibrated_models import recipe, tiny
from tests.core.job.compress_samples import records, run_recipe

SCHEME = Integer(bits=3, symmetric=True, granularity="channel")


class Block(nn.Module):
    def __init__(self, weight: Tensor) -> None:
        super().__init__()
        self.linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False).requires_grad_(False)
        self.linear.weight.copy_(weight)

    def forward(self, hidden: Tensor) -> Tensor:
        out: Tensor = self.linear(hidden)
        return out


def solved(weight: Tensor, hidden: Tensor, solver: LearnedRounding) -> tuple[Solution, Solution]:
    """The initial solution of a block of one linear, rounded to nearest, and what learning makes of it."""
    entry = TensorEntry("linear.weight", "float32", tuple(weight.shape), "", 0, weight.nbytes)
    layer = Layer("linear", entry, "linear", "linear", None)
    initial = nearest_matrix(weight, SCHEME, Nearest(), None, NULL_CONTEXT)
    statistics = InputStatistics(hidden.flatten(0, 1).T @ hidden.flatten(0, 1), hidden.shape[0] * hidden.shape[1])
    block = Block(initial.decoded)
    run = BlockRun(block, 0, lambda _windows, _tokens: Arguments((), {}))
    layers = [BlockLayer(layer, "linear.weight", SCHEME, solver, weight, initial, statistics)]
    found = learned_rounding(run, layers, [hidden], [hidden @ weight.T], NULL_CONTEXT)
    return initial, found["linear"]


@pytest.mark.parametrize(("optimiser", "left"), [("adam", 0.6), ("sign", 0.8)])
def test_nearer_to_the_best_of_all_roundings(optimiser: Any, left: float) -> None:
    generator = torch.Generator().manual_seed(1)
    weight = torch.randn(4, 8, generator=generator)
    hidden = torch.randn(12, 8, 8, generator=generator) @ (torch.eye(8) + 0.5 * torch.randn(8, 8, generator=generator))
    solver = LearnedRounding(start="nearest", optimiser=optimiser, steps=300, scale_rate=0.0)
    initial, learned = solved(weight, hidden, solver)
    inputs = hidden.flatten(0, 1)
    scale = initial.stored["weight_scale"].float()

    def errors(decoded: Tensor) -> Tensor:
        return ((decoded - weight) @ inputs.T).square().sum(1)

    lowest = torch.full((4,), torch.inf)
    down = (weight / scale).floor()
    for ups in itertools.product((0.0, 1.0), repeat=8):
        lowest = torch.minimum(lowest, errors((down + torch.tensor(ups)).clamp(-4, 3) * scale))
    to_gain = errors(initial.decoded).sum() - lowest.sum()
    assert to_gain > 0.5 * lowest.sum()
    assert errors(learned.decoded).sum() - lowest.sum() <= left * to_gain
    assert torch.equal(learned.stored["weight_scale"], initial.stored["weight_scale"])


def test_what_does_not_help_is_not_taken() -> None:
    weight = torch.tensor([[-1.5, 0.5, 0.5, 1.0]]) / 3.5  # each on the grid already
    hidden = torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0))
    initial, learned = solved(weight, hidden, LearnedRounding(start="nearest", steps=5, learning_rate=1.0))
    assert torch.equal(learned.decoded, initial.decoded)
    assert "did not lessen" in learned.notes[-1]


def test_a_job_learns_the_same_bytes_each_time_and_says_how_far_it_came(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "llama", num_hidden_layers=2)
    asked = recipe(LearnedRounding(steps=20))
    first, again = (run_recipe(folder, tmp_path / name, asked) for name in ("first", "again"))
    assert records(tmp_path / "first") == records(tmp_path / "again")
    assert len(first.layers) == len(again.layers) == 14
    for layer in first.layers:
        assert any("output error fell to" in note or "did not lessen" in note for note in layer.notes)
        assert layer.output_error is not None


def test_only_even_grids_are_learned() -> None:
    with pytest.raises(RecipeError, match="even grids"):
        Treatment(Codebook(), LearnedRounding()).refuse_mismatch("here")
