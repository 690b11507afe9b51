"""The second moments of a layer's inputs, factored for error feedback, whatever they are like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.progress import NULL_PROGRESS, Progress

_MIN_PIVOT = 1e-5
"""Of the damped moments, whose diagonal has a mean of about 1: below it float32 leaves nothing but rounding errors."""


_MAX_ATTEMPTS = 17
"""Of factoring: from a damping of 0 up to about 10¹²."""


@dataclass(frozen=True)
class Factored:
    """The damped moments H of the columns in `order`, as H = (I + U) D (I + U)ᵀ in units of `step` columns.

    moments:  H, float32 [columns, columns], scaled to a mean of 1 on its diagonal before damping.
    scale:    what they were divided by.
    root:     R upper triangular with R Rᵀ = H.
    feedback: U, zero on and below the blocks [step, step] of the diagonal.
    cost:     the diagonal of D [columns]: what a squared error of that column costs once later ones have made good.
    damping:  what it took, as a share of the mean of the diagonal.
    dead:     how many columns' input was always zero.
    """

    order: Tensor
    step: int
    moments: Tensor
    scale: float
    root: Tensor
    feedback: Tensor
    cost: Tensor
    damping: float
    dead: int


def unusable(hessian: Tensor) -> str:
    """Why nothing can be learned from moments float32 [columns, columns], as a phrase; "" when something can."""
    least, greatest = hessian.aminmax()
    if not bool(torch.isfinite(least) & torch.isfinite(greatest)):
        return "the inputs' second moments are not finite"
    if not bool((hessian.diagonal() > torch.finfo(hessian.dtype).tiny).any()):
        return "every input was zero"
    return ""


def factor(hessian: Tensor, order: Tensor, step: int, damping: float, progress: Progress = NULL_PROGRESS) -> Factored:
    """Factor moments float32 [columns, columns] that are not `unusable`, taken in `order`, int64 [columns].

    Damping is raised tenfold until all pivots are well above rounding errors. Columns whose input was always zero are
    left without any connection to the others. Raises ValueError when moments are so far from positive definite that no
    damping helps, which the second moments of real inputs never are. Raises Cancelled.
    """
    diagonal = hessian.diagonal()[order].double()
    alive = diagonal > torch.finfo(hessian.dtype).tiny
    scale = float(diagonal[alive].mean())
    diagonal = torch.where(alive, diagonal / scale, 1.0)
    # A Cholesky of the moments back to front, turned round again, has its triangle above.
    backwards = order.flip(0)
    flipped = hessian[backwards][:, backwards].div_(scale)
    for _ in range(_MAX_ATTEMPTS):
        progress.check_cancelled()
        flipped.diagonal().copy_((diagonal + damping).flip(0))
        lower, info = torch.linalg.cholesky_ex(flipped)
        if int(info) == 0 and float(lower.diagonal().min()) ** 2 >= _MIN_PIVOT:
            break
        damping = max(damping, 1e-4) * 10
    else:
        raise ValueError(f"the inputs' second moments are not positive definite, even with a damping of {damping:g}")
    root = lower.flip(0, 1)
    del lower
    feedback, cost = root / root.diagonal(), root.diagonal().square()
    if step > 1:
        feedback, cost = _by_units(feedback, cost, step)
    feedback.diagonal().zero_()
    dead = int((~alive).sum())
    return Factored(order, step, flipped.flip(0, 1), scale, root, feedback, cost, damping, dead)


def _by_units(unit_upper: Tensor, cost: Tensor, step: int) -> tuple[Tensor, Tensor]:
    """U, and the diagonal of D, from I + U and D in units of one column."""
    columns = len(cost)
    units = columns // step
    blocks = diagonal_blocks(unit_upper, step)
    wide = unit_upper.view(columns, units, step).transpose(0, 1)
    feedback = torch.linalg.solve_triangular(blocks, wide, upper=True, left=False, unitriangular=True)
    cost = (blocks.square() * cost.view(units, 1, step)).sum(2).flatten()
    return feedback.transpose(0, 1).reshape(columns, columns).triu_(1), cost


def diagonal_blocks(matrix: Tensor, step: int) -> Tensor:
    """The blocks on the diagonal of [columns, columns], [columns / step, step, step] of the same dtype: a view."""
    units = len(matrix) // step
    return matrix.view(units, step, units, step).diagonal(dim1=0, dim2=2).permute(2, 0, 1)


def descent(factored: Factored) -> Tensor:
    """F float32 [columns, columns]: W − Ŵ + (W − Ŵ) F of a unit is its least costly error, all others given.

    Zero in the blocks on the diagonal. Source: QuantEase, arXiv 2309.01885, equation 7.
    """
    moments, step = factored.moments, factored.step
    if step == 1:
        found = moments / moments.diagonal()
    else:
        columns = len(moments)
        wide = moments.view(columns, -1, step).transpose(0, 1)
        found = torch.linalg.solve(diagonal_blocks(moments, step), wide, left=False)
        found = found.transpose(0, 1).reshape(columns, columns)
    diagonal_blocks(found, step).zero_()
    return found


def original_target(weight: Tensor, drift: Tensor, factored: Factored) -> Tensor:
    """The weight, transposed, whose outputs on the inputs of the compressed prefix are nearest to the original outputs.

    weight and result: float32 [columns, rows]; drift: float32 [columns, columns].

    W* = W + W C H_d⁻¹ with C = (X₀ − X)ᵀX / tokens and H_d the damped moments: ridge regression towards W.
    Source: the objective of GPTAQ, arXiv 2504.02692, completed to a square.
    """
    order = factored.order
    pull = drift[:, order].T.mul(1 / factored.scale) @ weight
    change = torch.cholesky_solve(pull.flip(0), factored.root.flip(0, 1)).flip(0)
    return weight.index_add(0, order, change)
