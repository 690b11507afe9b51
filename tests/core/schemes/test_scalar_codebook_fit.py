"""Levels in one dimension against exact dynamic programming and plain sorting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from benchvise.core.progress import NullProgress
from benchvise.core.schemes import scalar_codebook_fit as module
from benchvise.core.schemes.scalar_codebook_fit import kmeans_levels, quantile_levels
from tests.core.schemes.codebook_oracle import least_error, squared_error

UNITS, SIZE = 16, 48


def units_of(kind: str) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    bell = torch.randn(UNITS, SIZE, generator=generator)
    if kind == "bell":
        return bell
    if kind == "heavy tails":
        return bell * bell.abs() ** 1.5 + 5
    return torch.randint(0, 20, (UNITS, SIZE), generator=generator).float() + bell * 0.05


def weights_of(kind: str) -> torch.Tensor:
    if kind == "even":
        return torch.ones(UNITS, SIZE)
    return torch.rand(UNITS, SIZE, generator=torch.Generator().manual_seed(2)) ** 6 + 1e-4


@pytest.mark.parametrize("weighing", ["even", "uneven"])
@pytest.mark.parametrize("kind", ["bell", "heavy tails", "lumps"])
@pytest.mark.parametrize("count", [2, 4, 8, 16])
def test_the_error_is_near_the_least_possible(kind: str, weighing: str, count: int) -> None:
    values, weights = units_of(kind), weights_of(weighing)
    found = kmeans_levels(values, count, None if weighing == "even" else weights)
    assert (found.diff(dim=1) >= 0).all()
    rows = list(zip(values.tolist(), weights.tolist(), found.tolist(), strict=True))
    errors = np.array([squared_error(unit, weight, levels) for unit, weight, levels in rows])
    least = np.array([least_error(unit, weight, count) for unit, weight, _ in rows])
    assert (errors > least * (1 - 1e-6)).all()
    assert errors.sum() < 1.15 * least.sum()


def test_the_oracle_knows_a_case_worked_by_hand() -> None:
    assert least_error([0, 1, 10, 12], [1, 1, 1, 1], 2) == pytest.approx(0.5 + 2)
    assert least_error([0, 1, 10, 12], [1, 3, 1, 0], 2) == pytest.approx(0.75)


def test_iterations_never_raise_the_error() -> None:
    values, weights = units_of("heavy tails"), weights_of("uneven")
    units = module._sorted(values, weights, NullProgress())
    levels = module._start(units, 6)
    errors = []
    for _ in range(12):
        errors.append(
            [
                squared_error(unit, weight, row)
                for unit, weight, row in zip(
                    values.tolist(), weights.tolist(), (levels + units.centre).tolist(), strict=True
                )
            ]
        )
        levels = module._settled(units, levels, 1)
    steps = np.diff(np.array(errors), axis=0)
    assert (steps <= 1e-9).all()
    assert (steps < -1e-6).any()
    improved = module._improved(units, levels.clone())
    assert (module._total(units, improved) >= module._total(units, levels) * (1 - 1e-12)).all()


@pytest.mark.parametrize("find", [quantile_levels, kmeans_levels])
def test_few_distinct_values_are_kept_exactly(find) -> None:  # type: ignore[no-untyped-def]
    values = torch.tensor([[3.0, 1.1, 3.0, -2.7, 1.1, 0.0], [5.3] * 6, [0.0] * 6, [-0.1, 0.2, 0.3, 0.1, 0.2, 0.3]])
    found = find(values, 4)
    assert found.tolist() == [
        [pytest.approx(v, abs=0) for v in torch.tensor(row).tolist()]
        for row in ([-2.7, 0.0, 1.1, 3.0], [5.3] * 4, [0.0] * 4, [-0.1, 0.1, 0.2, 0.3])
    ]
    assert find(torch.tensor([[2.5], [-1.0]]), 8).tolist() == [[2.5] * 8, [-1.0] * 8]


def test_quantiles_are_those_of_numpy() -> None:
    values = units_of("bell")
    expected = np.quantile(values.double().numpy(), (np.arange(8) + 0.5) / 8, axis=1).T
    np.testing.assert_allclose(quantile_levels(values, 8).numpy(), expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("weights", [torch.zeros(1, 200), torch.full((1, 200), -1.0), torch.full((1, 200), 1e30)])
def test_weights_that_say_nothing_change_nothing(weights: torch.Tensor) -> None:
    values = torch.randn(3, 200, generator=torch.Generator().manual_seed(3))
    assert torch.equal(kmeans_levels(values, 8, weights), kmeans_levels(values, 8))


def test_far_from_zero_and_beside_huge_outliers_levels_stay_finite_and_in_range() -> None:
    bell = torch.randn(4, 64, generator=torch.Generator().manual_seed(4))
    values = torch.stack([bell[0] * 1e-3 + 1e4, bell[1] * 1e-30, bell[2] * 1e36, bell[3]])
    values[3, 5] = 3e38
    found = kmeans_levels(values, 8)
    assert found.isfinite().all()
    assert (found >= values.amin(1, keepdim=True)).all()
    assert (found <= values.amax(1, keepdim=True)).all()


def test_units_do_not_see_each_other() -> None:
    values, weights = units_of("lumps"), weights_of("uneven")
    together = kmeans_levels(values, 8, weights)
    alone = torch.cat([kmeans_levels(values[i : i + 1], 8, weights[i : i + 1]) for i in range(UNITS)])
    assert torch.equal(together, alone)


def test_the_number_of_threads_changes_nothing() -> None:
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            found.append(torch.cat(levels_of_many_shapes()))
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


def levels_of_many_shapes() -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    found = []
    for units, size in ((1, 100_001), (2, 40_000), (301, 129)):
        values = torch.randn(units, size, generator=generator)
        weights = torch.rand(1, size, generator=generator)
        found += [kmeans_levels(values, 16, weights).flatten(), quantile_levels(values, 32).flatten()]
    return found
