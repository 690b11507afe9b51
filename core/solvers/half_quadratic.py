"""Half-quadratic quantisation: grids whose errors have the least lp norm, p < 1, by alternating two closed forms.

Minimise Σ|w − ŵ|ᵖ over the scale s and the zero point z of each group, by way of stand-ins e for the errors:

    e ← argmin |e|ᵖ + β/2 (e − (w − ŵ))²  ≈  sign(x)·max(0, |x| − |x|^(p−1)/β),   x = w − ŵ in steps of the grid
    s, z ← least squares of s·(u − z) = w − e, with the codes u of the last grid

and β grows. Of all grids on the way, as they are stored, each group keeps the one of least Σ|w − ŵ|ᵖ.
Source: Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023. There the scale stays.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import IntegerGrid
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.solution import InputStatistics, Solution

_CHUNK_WEIGHTS = 1 << 19


def half_quadratic(
    weight: Tensor,
    scheme: Integer,
    solver: HalfQuadratic,
    statistics: InputStatistics | None,  # noqa: ARG001 - every solver of a matrix is handed them
    context: SolverContext,
) -> Solution:
    """Solve `weight` [rows, columns] in its dtype from the weights alone. Raises Cancelled."""
    rows, columns = weight.shape
    grid = IntegerGrid(scheme, rows, columns, weight.dtype)
    grid.progress = context.progress
    values = weight.float()
    grid.fit(0, values)
    spans = len(grid.scale)
    step = max(2, _CHUNK_WEIGHTS // max(1, columns))
    iterations = 0
    for row in range(0, rows, step):
        # Of a single group the sums would be split between threads, which changes their order.
        part = slice(max(0, min(row, rows - 2)), row + step)
        groups = values[part].reshape(-1, spans, grid.span)
        first = grid.scale[:, part].T, grid.zero[:, part].T
        scale, zero, taken = _alternated(groups, *first, grid, solver)
        grid.scale[:, part], grid.zero[:, part] = scale.T, zero.T
        iterations = max(iterations, taken)
    codes = grid.encode(0, values)
    notes = (f"half-quadratic: {iterations} iterations",)
    return Solution(grid.stored(codes), grid.decode(0, codes).to(weight.dtype), notes)


def _alternated(
    groups: Tensor, scale: Tensor, zero: Tensor, grid: IntegerGrid, solver: HalfQuadratic
) -> tuple[Tensor, Tensor, int]:
    """The best scales and zero points [rows, spans] of groups [rows, spans, size], and the iterations it took."""
    half, beta = float(1 << (grid.settings.bits - 1)), solver.beta
    best_scale, best_zero = scale, zero
    least = torch.full_like(scale, torch.inf)
    for iteration in range(solver.iterations + 1):
        grid.progress.check_cancelled()
        places = (groups / scale[..., None]).add_(zero[..., None])
        codes = places.round().clamp_(-half, half - 1)
        error = places.sub_(codes)
        size = error.abs()
        power = size.clamp(min=1e-8).pow_(solver.norm - 1)
        norm = (size * power).sum(2) * scale.pow(solver.norm)
        better = norm < least
        best_scale, best_zero = torch.where(better, scale, best_scale), torch.where(better, zero, best_zero)
        least = torch.where(better, norm, least)
        if iteration == solver.iterations or not bool(better.any()):
            break
        # Where a stand-in takes the whole error, the weight has no say; where it is zero, its error counts in full.
        shrunk = size.sub_(power.mul_(1 / beta)).clamp_(min=0).copysign_(error)
        scale, zero = _least_squares(codes, error.sub_(shrunk), scale, zero, solver)
        scale, zero = grid.rounded_to_stored(scale, zero)
        beta *= solver.kappa
    return best_scale, best_zero, iteration


def _least_squares(
    codes: Tensor, error: Tensor, scale: Tensor, zero: Tensor, solver: HalfQuadratic
) -> tuple[Tensor, Tensor]:
    """Scale and zero point [rows, spans] for which s·(u − z) is nearest to what lies `error` steps from today's."""
    shift = error.mean(2)
    if not solver.scales:
        return scale, zero - shift
    middle = codes.mean(2, keepdim=True)
    centred = codes - middle
    spread = centred.square().sum(2)
    slope = 1 + (centred * error).sum(2) / spread.clamp(min=1e-12)
    slope = torch.where((spread > 0) & (slope > 0.1), slope, 1.0)
    # s·(ū − z) + s·shift, the mean of what is wanted, stays.
    zero = middle[..., 0] - (middle[..., 0] - zero + shift) / slope
    return scale * slope, zero
