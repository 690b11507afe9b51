"""The treatments that a budget is shared out over unless others are named."""

from __future__ import annotations

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.recipe.recipe import Treatment

LADDER_BITS = (2, 3, 4, 5, 6, 8)


def bit_ladder(solver: Solver | None = None, group_size: int = 128, *, runs: bool = True) -> tuple[Treatment, ...]:
    """Integers with zero points in groups, of 2 to 8 bits.

    solver: None for error feedback, or for rounding with a clip search where the network cannot be run (`runs`).
    """
    chosen = solver or (ErrorFeedback() if runs else Nearest(clip_search=True))
    return tuple(
        Treatment(Integer(bits=bits, symmetric=False, group_size=group_size, indivisible="divisor"), chosen)
        for bits in LADDER_BITS
    )
