"""The allocation against all allocations there are, and against an integer programme."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import Bounds, LinearConstraint, milp

from benchvise.core.allocate.hull import ladder
from benchvise.core.allocate.problem import ChoiceProblem, joined
from benchvise.core.allocate.solve import solve


def all_totals(problem: ChoiceProblem) -> list[tuple[float, float]]:
    options = range(problem.kl_increase.shape[1])
    return [problem.totals(np.array(choice, np.int32)) for choice in product(options, repeat=problem.items)]


@settings(max_examples=150, deadline=None)
@given(st.integers(1, 5), st.integers(1, 4), st.integers(0, 10_000), st.floats(0, 1.1))
def test_nothing_within_the_budget_adds_less_kl(items: int, options: int, seed: int, share: float) -> None:
    rng = np.random.default_rng(seed)
    problem = ChoiceProblem(*rng.integers(0, 20, (2, items, options)).astype(np.float64))
    steps = ladder(problem)
    budget = steps.cost[0] + share * (steps.cost[-1] - steps.cost[0])
    found = solve(steps, budget)
    assert found.cost <= budget
    assert (found.kl_increase, found.cost) == problem.totals(found.choice)
    assert found.kl_increase == min(kl_increase for kl_increase, cost in all_totals(problem) if cost <= budget)
    assert found.gap == 0


@pytest.mark.parametrize("seed", range(4))
def test_equals_an_integer_programme_on_300_layers(seed: int) -> None:
    problem = realistic(np.random.default_rng(seed), 300, 12)
    steps = ladder(problem)
    budget = steps.cost[0] + (0.1 + 0.2 * seed) * (steps.cost[-1] - steps.cost[0])
    found = solve(steps, budget)
    rows = np.kron(np.eye(300), np.ones(12))
    cost = problem.cost.ravel()
    exact = milp(
        problem.kl_increase.ravel() / found.kl_increase,
        integrality=np.ones(3600),
        bounds=Bounds(0, 1),
        constraints=(LinearConstraint(rows, 1, 1), LinearConstraint(cost[None] / budget, -np.inf, 1)),
        options={"mip_rel_gap": 1e-4, "presolve": False, "time_limit": 20},
    )
    assert exact.mip_dual_bound is not None
    assert found.cost <= budget
    assert exact.fun * (1 + 2e-4) >= 1
    assert exact.mip_dual_bound <= 1 + 1e-6


def realistic(rng: np.random.Generator, items: int, options: int) -> ChoiceProblem:
    bits = np.linspace(2, 8, options)
    cost = np.floor(rng.integers(10**6, 5 * 10**7, items)[:, None] * (bits + 0.25) / 8)
    kl_increase = np.exp(rng.normal(0, 1.5, items))[:, None] * 1e-3 * 4.0 ** -(bits - 2)
    return ChoiceProblem(kl_increase * np.exp(rng.normal(0, 0.2, (items, options))), cost)


def test_every_point_of_the_front_is_the_best_of_its_cost() -> None:
    problem = ChoiceProblem(*np.random.default_rng(1).integers(0, 50, (2, 4, 4)).astype(np.float64))
    steps = ladder(problem)
    assert (np.diff(steps.cost) > 0).all()
    assert (np.diff(steps.kl_increase) < 0).all()
    for count, (cost, kl_increase) in enumerate(zip(steps.cost, steps.kl_increase, strict=True)):
        assert problem.totals(steps.after(count)) == (pytest.approx(kl_increase), pytest.approx(cost))
        assert kl_increase == pytest.approx(min(d for d, c in all_totals(problem) if c <= cost))


def test_options_that_are_not_allowed_are_never_taken() -> None:
    kl_increase = np.array([[0.0, 1.0, 5.0], [np.inf, 2.0, 4.0]])
    cost = np.array([[9.0, 3.0, 1.0], [np.inf, 3.0, 1.0]])
    steps = ladder(ChoiceProblem(kl_increase, cost))
    for budget in (2.0, 4.0, 6.0, 12.0, 100.0):
        assert solve(steps, budget).choice[1] != 0
    assert solve(steps, 100.0).kl_increase == 2.0


def test_a_budget_below_the_cheapest_is_no_solution() -> None:
    steps = ladder(ChoiceProblem(np.array([[1.0, 0.0]]), np.array([[2.0, 3.0]])))
    with pytest.raises(ValueError, match="costs more"):
        solve(steps, 1.99)
    assert solve(steps, 2.0).choice.tolist() == [0]


def test_an_item_without_options_is_refused() -> None:
    with pytest.raises(ValueError, match="no option"):
        ladder(ChoiceProblem(np.array([[np.inf]]), np.array([[1.0]])))


def test_what_adds_no_kl_takes_the_cheapest() -> None:
    steps = ladder(ChoiceProblem(np.array([[0.0, 0.0, 0.0]]), np.array([[8.0, 2.0, 4.0]])))
    assert solve(steps, 100.0).choice.tolist() == [1]
    assert steps.price(0) == 0


def test_joined_items_take_one_option_and_add_up() -> None:
    kl_increase = np.array([[3.0, 1.0], [4.0, np.inf], [5.0, 0.5]])
    cost = np.array([[1.0, 2.0], [1.0, np.inf], [1.0, 9.0]])
    problem, place = joined(ChoiceProblem(kl_increase, cost), [[0, 2]])
    assert place.tolist() == [0, 1, 0]
    assert problem.kl_increase.tolist() == [[8.0, 1.5], [4.0, np.inf]]
    assert problem.cost.tolist() == [[2.0, 11.0], [1.0, np.inf]]


def test_the_price_is_what_the_next_bit_of_budget_wins() -> None:
    problem = realistic(np.random.default_rng(3), 40, 6)
    steps = ladder(problem)
    at = len(steps.spent) // 2
    found = solve(steps, float(steps.cost[at]))
    assert found.price == pytest.approx(
        (steps.kl_increase[at] - steps.kl_increase[at + 1]) / (steps.cost[at + 1] - steps.cost[at])
    )
