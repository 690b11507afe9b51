"""The least KL increase that a budget allows: the exact solution of the multiple-choice knapsack."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.allocate.hull import Ladder
from benchvise.core.allocate.problem import Choice, Floats

TOLERANCE = 1e-4
"""How much worse than the best an allocation may be, relative to its KL increase: far below the error of measuring."""
MAX_STATES = 100_000
"""Over all items together: about a hundredth of a second. An allocation is called near enough when they are used up."""


@dataclass(frozen=True)
class AllocationSolution:
    """choice: one option per item, int32 [items]. price: KL increase per unit of cost at the margin.

    gap: by which part the KL increase might be less at best within the budget; 0 when TOLERANCE is proven.
    """

    choice: Choice
    kl_increase: float
    cost: float
    price: float
    gap: float


def solve(steps: Ladder, budget: float) -> AllocationSolution:
    """The allocation of least KL increase whose cost is at most `budget`.

    The linear relaxation gives a first allocation, a price and a bound. By that price every other option of an item
    has a reduced cost, and only combinations whose reduced costs add up to less than the gap can be better. They are
    enumerated item by item, dominated ones dropped, the item with the least reduced cost first, until no further item
    can matter: Pisinger, A minimal algorithm for the multiple-choice knapsack problem, European Journal of Operational
    Research 83, 1995. Raises ValueError when even the cheapest allocation costs more.
    """
    problem = steps.problem
    if steps.cost[0] > budget:
        raise ValueError("the cheapest allocation costs more than the budget")
    count = int(np.searchsorted(steps.cost, budget, side="right")) - 1
    price, base = steps.price(count), steps.after(count)
    search = _Search(steps, base, price, budget - problem.totals(base)[1])
    search.begin(_filled(steps, count, base, search.room))
    search.carry_out()
    kl_increase, cost = problem.totals(search.best)
    gap = max(0.0, kl_increase - search.bound)
    known = search.proven or gap <= TOLERANCE * kl_increase
    return AllocationSolution(search.best, kl_increase, cost, price, 0.0 if known else gap / kl_increase)


def _filled(steps: Ladder, count: int, base: Choice, room: float) -> Choice:
    """`base` with every later step that the rest of the budget still pays."""
    choice, problem = base.copy(), steps.problem
    for step in range(count, len(steps.spent)):
        item, option = int(steps.item[step]), int(steps.option[step])
        extra = problem.cost[item, option] - problem.cost[item, choice[item]]
        if extra <= room and problem.kl_increase[item, option] < problem.kl_increase[item, choice[item]]:
            choice[item] = option
            room -= extra
    return choice


@dataclass(frozen=True)
class _Stage:
    """The states after one more item: each one's predecessor, and the option of the item."""

    item: int
    parent: NDArray[np.int64]
    option: NDArray[np.int32]


class _Search:
    """States are allocations: cost and KL increase beyond `base`; items not yet looked at stay as in `base`."""

    def __init__(self, steps: Ladder, base: Choice, price: float, room: float) -> None:
        problem = steps.problem
        rows = np.arange(problem.items)
        self._base = base
        self._price = price
        self.room = room
        with np.errstate(invalid="ignore"):
            self._spent: Floats = problem.cost - problem.cost[rows, base][:, None]
            self._lost: Floats = problem.kl_increase - problem.kl_increase[rows, base][:, None]
            reduced: Floats = self._lost + price * self._spent
        self._allowed = np.isfinite(problem.cost) & np.isfinite(problem.kl_increase)
        reduced[~self._allowed] = np.inf
        reduced[rows, base] = np.inf
        self._least = reduced.min(axis=1)
        self._problem = problem
        self._base_kl = problem.totals(base)[0]
        self.bound = self._base_kl - price * room
        self.proven = False

    def begin(self, known: Choice) -> None:
        """known: an allocation within the budget, to be bettered."""
        self.best = known
        self._best_kl = self._problem.totals(known)[0]

    def carry_out(self) -> None:
        spent, lost = np.zeros(1), np.zeros(1)
        stages: list[_Stage] = []
        states = 0
        for item in np.argsort(self._least, kind="stable").tolist():
            if self.bound + self._least[item] >= self._enough:
                break
            options = np.flatnonzero(self._allowed[item]).astype(np.int32)
            spent, lost, stage = self._extended(item, options, spent, lost)
            stages.append(stage)
            if not len(spent):
                break
            self._take_best(spent, lost, stages)
            states += len(spent)
            if states > MAX_STATES:
                return
        self.proven = True

    @property
    def _enough(self) -> float:
        """Whatever adds this much KL or more is not looked for."""
        return self._best_kl * (1 - TOLERANCE)

    def _extended(
        self, item: int, options: NDArray[np.int32], spent: Floats, lost: Floats
    ) -> tuple[Floats, Floats, _Stage]:
        """The states with every option of one more item that are neither hopeless nor dominated, cost rising."""
        more_spent = (self._spent[item, options][:, None] + spent).ravel()
        more_lost = (self._lost[item, options][:, None] + lost).ravel()
        hope = np.flatnonzero(more_lost + self._price * more_spent < self._enough - self.bound)
        option, parent = np.divmod(hope, len(spent))
        more_spent, more_lost = more_spent[hope], more_lost[hope]
        order = np.argsort(more_spent, kind="stable")  # as many rising runs as options: merged, not sorted
        least = np.minimum.accumulate(more_lost[order])
        order = order[np.concatenate(([True], least[1:] < least[:-1]))[: len(order)]]
        # Of those that cost the same, each adds less KL than the one before: the last stays.
        order = order[np.concatenate((np.diff(more_spent[order]) > 0, [True]))[-len(order) :]] if len(order) else order
        return more_spent[order], more_lost[order], _Stage(item, parent[order], options[option[order]])

    def _take_best(self, spent: Floats, lost: Floats, stages: list[_Stage]) -> None:
        """Of the states within the budget the last adds the least KL."""
        state = int(np.searchsorted(spent, self.room, side="right")) - 1
        if state < 0 or self._base_kl + lost[state] >= self._best_kl:
            return
        choice = self._base.copy()
        for stage in reversed(stages):
            choice[stage.item] = stage.option[state]
            state = int(stage.parent[state])
        kl_increase, cost = self._problem.totals(choice)
        if cost <= self._problem.totals(self._base)[1] + self.room and kl_increase < self._best_kl:
            self.best, self._best_kl = choice, kl_increase
