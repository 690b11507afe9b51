"""Which treatment each layer gets, as arrays: how much KL every choice adds and what it costs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Choice = NDArray[np.int32]


@dataclass(frozen=True)
class ChoiceProblem:
    """One of several options for each item; an item is a layer, or layers that take the same treatment.

    kl_increase, cost: float64 [items, options]; both infinite where an option is not allowed.
    """

    kl_increase: Floats
    cost: Floats

    @property
    def items(self) -> int:
        return len(self.kl_increase)

    def totals(self, choice: Choice) -> tuple[float, float]:
        """(KL increase, cost) of one option per item."""
        rows = np.arange(self.items)
        return float(self.kl_increase[rows, choice].sum()), float(self.cost[rows, choice].sum())

    def turned(self) -> ChoiceProblem:
        """The same with KL increase and cost in each other's place: what is least for a given KL increase."""
        return ChoiceProblem(self.cost, self.kl_increase)


def joined(problem: ChoiceProblem, groups: Sequence[Sequence[int]]) -> tuple[ChoiceProblem, NDArray[np.int64]]:
    """The problem in which the items of a group are one, and int64 [items]: for every old item the new one.

    An option that one of a group does not allow is not allowed to the group.
    """
    place = np.arange(problem.items)
    for group in groups:
        place[list(group)] = min(group)
    _, place = np.unique(place, return_inverse=True)
    shape = (int(place.max(initial=-1)) + 1, problem.kl_increase.shape[1])
    kl_increase, cost = np.zeros(shape), np.zeros(shape)
    np.add.at(kl_increase, place, problem.kl_increase)
    np.add.at(cost, place, problem.cost)
    forbidden = ~(np.isfinite(kl_increase) & np.isfinite(cost))
    kl_increase[forbidden] = cost[forbidden] = np.inf
    return ChoiceProblem(kl_increase, cost), place
