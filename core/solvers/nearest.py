"""Round to nearest: block of rows by block of rows, or a whole matrix with a clip search that its inputs weigh."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from torch import Tensor

from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.solution import InputStatistics, Solution


def nearest_rows(
    matrix: Matrix, scheme: Scheme, solver: Nearest, shared: Shared | None, context: SolverContext
) -> tuple[Iterator[SolvedRows], SchemeArithmetic[Any]]:
    """Solved rows in order, and the arithmetic whose `tail` is complete once they are used up.

    Raises Cancelled, also while the rows are read.
    """
    clip = ClipSearch(solver.clip_steps, solver.clip_least) if solver.searches(scheme) else None
    arithmetic = arithmetic_of(scheme)(scheme, matrix, clip=clip, shared=shared, progress=context.progress)
    arithmetic.fit()
    return (arithmetic.project(start, block) for start, block in matrix.blocks()), arithmetic


def nearest_matrix(
    weight: Tensor, scheme: Scheme, solver: Nearest, statistics: InputStatistics | None, context: SolverContext
) -> Solution:
    """Solve `weight` [rows, columns] in its dtype; without inputs all columns count the same, and the notes say so.

    Raises Cancelled.
    """
    clip = ClipSearch(solver.clip_steps, solver.clip_least) if solver.searches(scheme) else None
    weighed = solver.importance and clip is not None
    if not weighed and not scheme.weighs:
        return project(weight, scheme, clip, None, context)
    if statistics is None or statistics.tokens == 0:
        return project(weight, scheme, clip, None, context, "no calibration inputs: every column counts the same")
    importance = statistics.importance if weighed else None
    return project(weight, scheme, clip, importance, context, moments=statistics.hessian)


def project(
    weight: Tensor,
    scheme: Scheme,
    clip: ClipSearch | None,
    importance: Tensor | None,
    context: SolverContext,
    *notes: str,
    moments: Tensor | None = None,
) -> Solution:
    """The nearest representable values of `weight` [rows, columns] in its dtype.

    importance: float32 [columns], weights of the squared errors under which parameters are fitted; None: all the same.
    moments:    of the inputs, float32 [columns, columns], where they are known. Raises Cancelled.
    """
    rows, columns = weight.shape
    grid = arithmetic_of(scheme).grid(scheme, rows, columns, weight.dtype, clip=clip)
    grid.progress = context.progress
    values = weight.float()
    if moments is not None:
        grid.learn(moments)
    grid.fit(0, values, importance)
    codes = grid.encode(0, values)
    return Solution(grid.stored(codes), grid.decode(0, codes).to(weight.dtype), notes)
