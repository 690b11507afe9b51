"""Nearest rounding of a whole matrix, its clip search weighed by the importance of the inputs."""

from __future__ import annotations

from torch import Tensor

from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.solution import InputStatistics, Solution


def whole_nearest(weight: Tensor, scheme: Scheme, solver: Nearest, statistics: InputStatistics | None) -> Solution:
    """Solve `weight` [rows, columns]; without inputs every column counts alike, and the notes say so."""
    clip = ClipSearch(solver.clip_steps, solver.clip_least) if solver.searches(scheme) else None
    if not solver.importance or clip is None:
        return project(weight, scheme, clip, None)
    if statistics is None or statistics.tokens == 0:
        return project(weight, scheme, clip, None, "no calibration inputs: every column counts alike")
    return project(weight, scheme, clip, statistics.importance)


def project(
    weight: Tensor, scheme: Scheme, clip: ClipSearch | None, importance: Tensor | None, *notes: str
) -> Solution:
    """The nearest representable values, with parameters fitted under `importance` float32 [columns]."""
    rows, columns = weight.shape
    grid = arithmetic_of(scheme).grid(scheme, rows, columns, weight.dtype, clip=clip)
    values = weight.float()
    grid.fit(0, values, importance)
    codes = grid.encode(0, values)
    return Solution(grid.stored(codes), grid.decode(0, codes).to(weight.dtype), notes)
