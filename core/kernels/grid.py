"""The grid of a group of weights: how wide its steps are and where zero lies on it.

symmetric    s = max|w| / ((2^b − 1) / 2)
asymmetric   lo = min(0, w), hi = max(0, w);  s = (hi − lo) / (2^b − 1);  z = clamp(round(−lo / s), 0, 2^b − 1)

where s is first kept within the normal numbers of the scale's dtype and rounded to it, to nearest, ties to even.
Source: arXiv:1712.05877, section 2; the half range of the symmetric grid as in vllm-project/compressed-tensors.
"""

from __future__ import annotations

import torch
from torch import Tensor


def symmetric_scale(magnitude: Tensor, bits: int, dtype: torch.dtype) -> Tensor:
    """The stored scale, in `dtype`, of groups whose largest magnitudes are float32 `magnitude` (any shape)."""
    return _stored(_divided(magnitude, (2**bits - 1) / 2), dtype)


def asymmetric_grid(low: Tensor, high: Tensor, bits: int, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The stored scale, in `dtype`, and zero point, uint8, of groups with minima `low` and maxima `high`.

    low, high: float32 of any shape, which scale and zero point have too.
    """
    low = low.clamp(max=0)
    scale = _stored(_divided(high.clamp(min=0) - low, 2**bits - 1), dtype)
    zero_point = torch.round(-low / scale.float()).clamp_(0, 2**bits - 1)
    return scale, zero_point.to(torch.uint8)


def _divided(numerator: Tensor, denominator: float) -> Tensor:
    # By a tensor, since on a GPU torch divides by a number through its reciprocal, which rounds differently.
    return numerator / numerator.new_tensor([denominator])


def _stored(step: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 `step`, its memory reused, within the normal numbers of `dtype` and rounded to it."""
    limits = torch.finfo(dtype)
    return step.clamp_(limits.tiny, limits.max).to(dtype).clamp_(min=limits.tiny)
