"""Inputs rounded to 8 bits and back, as runtimes do while a layer runs. Pure arithmetic on tensors.

The formulas are those of compressed-tensors (`fake_quantize` and `compute_dynamic_scales_and_zp`), which `transformers`
computes with: symmetric, a scale of max|x| / ((2⁸ − 1)/2) for INT8 and max|x| / 448 for FP8 E4M3. vLLM's INT8 kernel
divides by 127 instead of 127.5, so that its dynamic scales are 0.4 % larger.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.activations import Activations

SCALE_OF_ZEROS = float(torch.finfo(torch.float32).eps)
"""The scale of inputs that are all zero."""

_HALF_RANGE = {"int8": 127.5, "fp8": 448.0}
_MIN_GREATEST = {"int8": (-128.0, 127.0), "fp8": (-448.0, 448.0)}


def scale_of_range(settings: Activations, greatest: Tensor) -> Tensor:
    """The scale, float32 of any shape, under which magnitudes up to `greatest` are in range."""
    scale = greatest.float() / _HALF_RANGE[settings.format]
    return torch.where(scale == 0, SCALE_OF_ZEROS, scale)


def token_scales(settings: Activations, x: Tensor) -> Tensor:
    """The scale of each token: float32 [..., 1] of inputs [..., columns]."""
    low, high = torch.aminmax(x.float(), dim=-1, keepdim=True)
    return scale_of_range(settings, torch.maximum(high, -low))


def codes_of(settings: Activations, x: Tensor, scale: Tensor) -> Tensor:
    """The quantised values before they are scaled back, float32 shaped like x: whole numbers, or E4M3 values.

    x: any floating dtype, [..., columns]. scale: float32, broadcast against x. Halves go to the even code.
    """
    codes = (x.float() / scale).clamp_(*_MIN_GREATEST[settings.format])
    return codes.round_() if settings.format == "int8" else codes.to(torch.float8_e4m3fn).float()


def quantised(settings: Activations, x: Tensor, scale: Tensor | None = None) -> Tensor:
    """Inputs [..., columns] of any floating dtype as the quantised layer computes with them, in the same dtype.

    scale: float32 [1] when the settings are static, None when they are dynamic. Computed in float32. Gradients pass the
    rounding straight through, but not where inputs are out of range. Raises ValueError when the scale is missing or not
    asked for.
    """
    if (scale is None) != (settings.mode == "dynamic"):
        raise ValueError(f"{settings.tag} {'needs' if scale is None else 'takes no'} fixed scale")
    if not x.numel():
        return x
    if x.requires_grad and torch.is_grad_enabled():
        passed: Tensor = _StraightThrough.apply(x, settings, scale)  # type: ignore[no-untyped-call]
        return passed
    return _rounded(settings, x, scale)


def _rounded(settings: Activations, x: Tensor, scale: Tensor | None) -> Tensor:
    steps = token_scales(settings, x) if scale is None else scale.to(x.device)
    return (codes_of(settings, x, steps) * steps).to(x.dtype)


class _StraightThrough(torch.autograd.Function):
    """Rounded inputs; the gradient passes where a fixed scale reaches. Scales of tokens always do."""

    @staticmethod
    def forward(
        ctx: torch.autograd.function.FunctionCtx, x: Tensor, settings: Activations, scale: Tensor | None
    ) -> Tensor:
        inside = torch.ones((), dtype=torch.bool, device=x.device)
        if scale is not None:
            inside = x.abs() <= scale.to(x.device) * _HALF_RANGE[settings.format]
        ctx.save_for_backward(inside)
        return _rounded(settings, x, scale)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (inside,) = ctx.saved_tensors  # type: ignore[attr-defined]
        return gradients[0] * inside, None, None
