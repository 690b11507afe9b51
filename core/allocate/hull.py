"""The lower convex hull of every item's options, and all of them in the order in which a growing budget buys them.

Bought in order of what they win back per unit of cost, the steps along the hulls give the best allocation at every
budget at which one of them is complete, and a bound for all budgets between: the linear relaxation of the choice has
at most one item between two options (Sinha and Zoltners, The multiple-choice knapsack problem, Operations Research 27,
1979, section 3).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from benchvise.core.allocate.problem import Choice, ChoiceProblem, Floats


@dataclass(frozen=True)
class Ladder:
    """Steps from the cheapest allocation to the least damaging, best bargain first.

    base:     the cheapest option of each item [items] (of equal ones the least damaging).
    item, option: of each step, int64 [steps].
    spent, won:   cost added and KL increase taken away by each step, float64 [steps]; won ÷ spent never grows.
    """

    problem: ChoiceProblem
    base: Choice
    item: NDArray[np.int64]
    option: NDArray[np.int64]
    spent: Floats
    won: Floats

    @cached_property
    def cost(self) -> Floats:
        """After no step, one, two, …: [steps + 1]."""
        return self.problem.totals(self.base)[1] + np.concatenate(([0.0], np.cumsum(self.spent)))

    @cached_property
    def kl_increase(self) -> Floats:
        """After no step, one, two, …: [steps + 1], never negative."""
        least = self.problem.totals(self.base)[0] - np.concatenate(([0.0], np.cumsum(self.won)))
        return np.maximum(least, 0.0)

    def price(self, step: int) -> float:
        """KL increase saved per unit of cost by a step; 0 behind the last."""
        return float(self.won[step] / self.spent[step]) if step < len(self.spent) else 0.0

    def after(self, steps: int) -> Choice:
        """The allocation after so many steps."""
        choice = self.base.copy()
        choice[self.item[:steps]] = self.option[:steps]  # of an item's steps the last one stays
        return choice


def ladder(problem: ChoiceProblem) -> Ladder:
    """Raises ValueError for an item without an allowed option."""
    base = np.empty(problem.items, np.int32)
    items: list[int] = []
    options: list[int] = []
    spent: list[float] = []
    won: list[float] = []
    for item, (kl_increase, cost) in enumerate(zip(problem.kl_increase, problem.cost, strict=True)):
        hull = _hull(kl_increase, cost)
        if not hull:
            raise ValueError(f"item {item} has no option")
        base[item] = hull[0]
        for before, after in pairwise(hull):
            items.append(item)
            options.append(after)
            spent.append(cost[after] - cost[before])
            won.append(kl_increase[before] - kl_increase[after])
    order = np.argsort(-np.array(won) / np.array(spent), kind="stable") if items else np.empty(0, np.int64)
    return Ladder(
        problem,
        base,
        np.array(items, np.int64)[order],
        np.array(options, np.int64)[order],
        np.array(spent, np.float64)[order],
        np.array(won, np.float64)[order],
    )


def _hull(kl_increase: Floats, cost: Floats) -> list[int]:
    """Options on the lower convex hull, cost rising and KL increase falling."""
    allowed = np.flatnonzero(np.isfinite(kl_increase) & np.isfinite(cost))
    hull: list[int] = []
    for option in allowed[np.lexsort((kl_increase[allowed], cost[allowed]))].tolist():
        if hull and kl_increase[option] >= kl_increase[hull[-1]]:
            continue
        while len(hull) > 1 and not _turns(kl_increase, cost, hull[-2], hull[-1], option):
            hull.pop()
        hull.append(option)
    return hull


def _turns(kl_increase: Floats, cost: Floats, first: int, middle: int, last: int) -> bool:
    """Whether the middle of three options wins more per unit of cost than what follows it."""
    one = (kl_increase[first] - kl_increase[middle]) * (cost[last] - cost[middle])
    other = (kl_increase[middle] - kl_increase[last]) * (cost[middle] - cost[first])
    return bool(one > other)
