"""Codes and scales of a stored matrix as things that can be learned by gradients."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Learnable:
    """A matrix whose codes may move and whose scales may grow or shrink.

    offsets: float32 zeros [rows, columns]: how far each weight is moved before it is rounded, in steps of the grid.
    scales:  float32 zeros, one per stored scale: the logarithm of the factor it is multiplied with.
    weight:  (offsets, scales) → float32 [rows, columns]; gradients pass the rounding straight through, but not where a
             code is at the end of the grid.
    stored:  (offsets, scales) → the tensors of the scheme.
    """

    offsets: Tensor
    scales: Tensor
    weight: Callable[[Tensor, Tensor], Tensor]
    stored: Callable[[Tensor, Tensor], dict[str, Tensor]]


class _Rounded(torch.autograd.Function):
    """round, then clamp to the codes from 0 to the greatest; the gradient passes where nothing was clamped."""

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, positions: Tensor, greatest: int) -> Tensor:
        ctx.save_for_backward((positions > -0.5) & (positions < greatest + 0.5))
        return positions.round().clamp_(0, greatest)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None]:
        (inside,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * inside, None


def rounded(positions: Tensor, greatest: int) -> Tensor:
    """Codes 0 … `greatest` nearest to `positions`, both float32 of any shape; gradients go straight through."""
    codes: Tensor = _Rounded.apply(positions, greatest)  # type: ignore[no-untyped-call]
    return codes


def as_stored(values: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 values of any shape, rounded to the dtype they are stored in; gradients go straight through."""
    return values + (values.to(dtype).float() - values).detach()
