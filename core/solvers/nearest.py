"""Round to nearest: every block of rows is projected on the scheme by itself."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.schemes.registry import arithmetic_of


def nearest(
    matrix: Matrix, scheme: Scheme, solver: Nearest, shared: Shared | None = None
) -> tuple[Iterator[SolvedRows], SchemeArithmetic[Any]]:
    """Solved rows in order, and the arithmetic whose `tail` is complete once they are used up."""
    clip = ClipSearch(solver.clip_steps, solver.clip_least) if solver.searches(scheme) else None
    arithmetic = arithmetic_of(scheme)(scheme, matrix, clip=clip, shared=shared)
    arithmetic.fit()
    return (arithmetic.project(start, block) for start, block in matrix.blocks()), arithmetic
