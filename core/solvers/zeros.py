"""Which weights of a layer are to be zero, and the values of the others, from the second moments of its inputs.

Source: ALPS, arXiv 2406.07831, sections 3.1 (ADMM) and 3.2 (conjugate gradients on the weights that stay).
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.progress import Progress
from benchvise.core.schemes.grid import MaskGrid
from benchvise.core.solvers.moments import Factored

_PENALTY, _GROWTH = 0.03, 1.1
"""Of the distance of values from zeros, beside moments of unit diagonal: at first, and what each step raises it by."""

_REFIT_STEPS = 100
_REFIT_TOLERANCE = 1e-4
"""Of the gradient, as a share of what it was at first: far below what the weight's own dtype can say."""


def in_grid_order(factored: Factored) -> Tensor:
    """The damped moments [columns, columns], float32, with the columns as they lie."""
    place = torch.argsort(factored.order)
    return factored.moments[place][:, place]


def searched(target: Tensor, moments: Tensor, grid: MaskGrid, steps: int, progress: Progress) -> Tensor:
    """The mask bool [rows, columns] that values and zeros, solved for in turns, agree on.

    target: float32 [rows, columns], what the layer is to compute. moments: damped, float32 [columns, columns].
    Raises Cancelled.
    """
    size = moments.diagonal().sqrt()
    scaled, weight = moments / size / size[:, None], target * size
    lengths, turned = torch.linalg.eigh(scaled)
    aim = weight @ scaled @ turned
    penalty = _PENALTY
    mask = grid.chosen(weight)
    sparse, dual = weight * mask, torch.zeros_like(weight)
    for _ in range(steps):
        progress.check_cancelled()
        values = ((aim + (penalty * sparse - dual) @ turned) / (lengths + penalty)) @ turned.T
        pulled = values + dual / penalty
        mask = grid.chosen(pulled)
        sparse = pulled * mask
        dual += penalty * (values - sparse)
        penalty *= _GROWTH
    return mask


def refitted(target: Tensor, moments: Tensor, mask: Tensor, first: Tensor, progress: Progress) -> Tensor:
    """The values float32 [rows, columns], zero outside `mask`, whose outputs are nearest to those of `target`.

    target, first: float32 [rows, columns]; `first` is where the search begins. moments: damped, float32
    [columns, columns]. Rows are solved together, each by conjugate gradients of its own. Raises Cancelled.
    """
    scale = moments.diagonal()
    values = first * mask
    rest = ((target - values) @ moments) * mask
    step = rest / scale
    along, least = step.clone(), (rest * step).sum(1, keepdim=True)
    enough = least.sum() * _REFIT_TOLERANCE**2
    for _ in range(_REFIT_STEPS):
        progress.check_cancelled()
        if float(least.sum()) <= float(enough):
            break
        met = (along @ moments) * mask
        length = least / (along * met).sum(1, keepdim=True).clamp(min=torch.finfo(met.dtype).tiny)
        values += length * along
        rest -= length * met
        step = rest / scale
        before, least = least, (rest * step).sum(1, keepdim=True)
        along = step + least / before.clamp(min=torch.finfo(met.dtype).tiny) * along
    return values
