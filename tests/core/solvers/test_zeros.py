"""Zeros under error feedback: SparseGPT as its paper writes it, least squares row by row, the search against both."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchvise.core.errors import Cancelled
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import NULL_CONTEXT
from benchvise.core.solvers.error_feedback import error_feedback
from benchvise.core.solvers.zeros import refitted, searched
from tests.core.solvers.solver_samples import correlated_inputs, output_error, statistics_of

ROWS, COLUMNS = 24, 64
HALF = Sparse(score="obs", storage_form="bitmask")
TWO_OF_FOUR = Sparse(criterion="n_of_m", score="obs", storage_form="indices")
SCHEMES = {
    "half": HALF,
    "per row": replace(HALF, scope="row"),
    "2 of 4": TWO_OF_FOUR,
    "cells": replace(HALF, pattern="block", block_rows=2, block_columns=2),
    "columns": replace(HALF, pattern="columns"),
    "rows": replace(HALF, pattern="rows"),
}
SPARSEGPT = ErrorFeedback(order="natural", passes=0, original_target=0.0, zeros="spans", refit=False)


def weight_of() -> torch.Tensor:
    return torch.randn(ROWS, COLUMNS, generator=torch.Generator().manual_seed(1)) * 0.05


def literal_sparsegpt(weight: torch.Tensor, hessian: torch.Tensor, damping: float, span: int) -> torch.Tensor:
    """Half of the weights of every span of columns go, in float64 and with the inverse, column after column."""
    work, columns = weight.double().clone(), weight.shape[1]
    damped = hessian.double() + damping * hessian.double().diagonal().mean() * torch.eye(columns, dtype=torch.float64)
    inverse = torch.linalg.cholesky(torch.linalg.inv(damped), upper=True)
    for start in range(0, columns, span):
        stop = start + span
        score = (work[:, start:stop] / inverse.diagonal()[start:stop]) ** 2
        mask = score > score.flatten().sort().values[score.numel() // 2 - 1]
        for column in range(start, stop):
            kept = work[:, column] * mask[:, column - start]
            error = (work[:, column] - kept) / inverse[column, column]
            work[:, column:] -= error[:, None] * inverse[column, column:]
            work[:, column] = kept
    return work


def test_span_by_span_it_is_sparsegpt() -> None:
    weight, statistics = weight_of(), statistics_of(correlated_inputs(300, COLUMNS))
    found = error_feedback(weight, HALF, SPARSEGPT, statistics, NULL_CONTEXT).decoded
    span = arithmetic_of(HALF).grid(HALF, ROWS, COLUMNS, weight.dtype).span
    expected = literal_sparsegpt(weight, statistics.hessian, SPARSEGPT.damping, span)
    torch.testing.assert_close(found.double(), expected, rtol=1e-3, atol=1e-5)


def test_refitting_is_least_squares_on_the_weights_that_stay() -> None:
    weight, hessian = weight_of(), statistics_of(correlated_inputs(300, COLUMNS)).hessian
    mask = torch.rand(ROWS, COLUMNS, generator=torch.Generator().manual_seed(2)) > 0.5
    found = refitted(weight, hessian, mask, weight, NullProgress())
    exact = torch.zeros(ROWS, COLUMNS, dtype=torch.float64)
    for row in range(ROWS):
        kept = mask[row].nonzero()[:, 0]
        aim = (hessian.double() @ weight[row].double())[kept]
        exact[row, kept] = torch.linalg.solve(hessian.double()[kept][:, kept], aim)
    assert not bool(found[~mask].any())
    assert output_error(weight, found, hessian) <= 1.001 * output_error(weight, exact, hessian)


@pytest.mark.parametrize("name", SCHEMES)
def test_each_step_lessens_the_error_at_the_output(name: str) -> None:
    """Nearest, error feedback span by span, that refitted, and zeros found by the search: each better than the last."""
    scheme, weight = SCHEMES[name], weight_of()
    statistics = statistics_of(correlated_inputs(2000, COLUMNS))
    solvers = [SPARSEGPT, replace(SPARSEGPT, refit=True), replace(SPARSEGPT, zeros="search", refit=True)]
    found = [error_feedback(weight, scheme, solver, statistics, NULL_CONTEXT) for solver in solvers]
    plain = weight * arithmetic_of(scheme).grid(scheme, ROWS, COLUMNS, weight.dtype).chosen(weight)  # type: ignore[attr-defined]
    errors = [output_error(weight, one, statistics.hessian) for one in (plain, *(one.decoded for one in found))]
    assert errors[1] < errors[0]
    assert errors[2] <= 1.0001 * errors[1]
    assert errors[3] < (1.02 if name == "rows" else 0.98) * errors[2]
    for one in found:
        assert int((one.decoded != 0).sum()) == scheme.kept_weights(ROWS, COLUMNS)
        assert torch.equal(
            arithmetic_of(scheme).decode(scheme, one.stored, 0, ROWS, COLUMNS).to(weight.dtype), one.decoded
        )


def test_integers_that_stay_are_rounded_in_the_same_pass() -> None:
    weight, statistics = weight_of(), statistics_of(correlated_inputs(2000, COLUMNS))
    scheme = replace(TWO_OF_FOUR, values="integer", bits=4, group_size=16)
    together = error_feedback(weight, scheme, ErrorFeedback(), statistics, NULL_CONTEXT)
    first = error_feedback(weight, TWO_OF_FOUR, ErrorFeedback(), statistics, NULL_CONTEXT).decoded
    grid = arithmetic_of(scheme).grid(scheme, ROWS, COLUMNS, weight.dtype)
    grid.hold(first != 0)  # type: ignore[attr-defined]
    grid.fit(0, first)
    rounded = grid.nearest(0, first)
    floor, ours, theirs = (output_error(weight, one, statistics.hessian) for one in (first, together.decoded, rounded))
    assert floor < ours
    assert ours - floor < 0.8 * (theirs - floor), "what rounding costs beside the zeros"
    assert bool((together.decoded.view(ROWS, -1, 4) != 0).sum(2).le(2).all())


def test_the_search_can_be_cancelled() -> None:
    class Stopped(NullProgress):
        def check_cancelled(self) -> None:
            raise Cancelled

    grid = arithmetic_of(HALF).grid(HALF, ROWS, COLUMNS, torch.float32)
    with pytest.raises(Cancelled):
        searched(weight_of(), torch.eye(COLUMNS), grid, 5, Stopped())  # type: ignore[arg-type]


def test_what_is_counted_over_layers_is_refused_and_settings_are_named() -> None:
    assert "several layers" in ErrorFeedback().refusal(Sparse(scope="global"))
    assert not ErrorFeedback().refusal(HALF)
    assert Treatment(HALF, replace(SPARSEGPT, order="groups")).tag == (
        "50 % zeros obs bitmask gptq 0 passes target 0 zeros by spans no refit"
    )
    assert "zeros" not in ErrorFeedback(zeros="spans").tag(Sparse(criterion="n_of_m")).replace("zeros by spans", "")
