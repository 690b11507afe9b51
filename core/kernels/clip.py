"""Clip search: of several shrunken ranges for a group, the one whose grid has the least squared error.

Source: arXiv 1810.05723, section 3, by search instead of the closed form.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from benchvise.core.kernels.quantise import grid_of
from benchvise.core.progress import NULL_PROGRESS, Progress

_BLOCK_WEIGHTS = 1 << 17


def shrink_factors(steps: int, least: float) -> list[float]:
    """`steps` factors evenly from 1 down to `least`."""
    return [1.0 - (1.0 - least) * step / (steps - 1) for step in range(steps)]


def fit_clipped(
    weight: Tensor,
    *,
    bits: int,
    group_size: int,
    symmetric: bool,
    scale_dtype: torch.dtype,
    steps: int,
    least: float,
    progress: Progress = NULL_PROGRESS,
) -> tuple[Tensor, Tensor | None]:
    """The grid of each group with the range shrunk by the best factor; of equal ones the widest.

    weight: finite, [rows, cols]; the error is that of the decoded weight in its dtype.
    Returns scale `scale_dtype` [rows, groups] and zero point uint8 [rows, groups] or None. Raises Cancelled.
    """
    rows, cols = weight.shape
    groups = cols // group_size
    scale = weight.new_empty((rows, groups), dtype=scale_dtype)
    zero_point = None if symmetric else weight.new_empty((rows, groups), dtype=torch.uint8)
    step = max(1, _BLOCK_WEIGHTS // max(1, cols))
    for start in range(0, rows, step):
        progress.check_cancelled()
        block = weight[start : start + step].reshape(-1, group_size)
        best_scale, best_zero = _search(block, bits, symmetric, scale_dtype, shrink_factors(steps, least))
        scale[start : start + step] = best_scale.view(-1, groups)
        if zero_point is not None and best_zero is not None:
            zero_point[start : start + step] = best_zero.view(-1, groups)
    return scale, zero_point


def grid_of_range(
    low: Tensor, high: Tensor, *, bits: int, symmetric: bool, scale_dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The grid that covers from `low` to `high`, float32 [n, 1] each: scale [n, 1], zero point uint8 [n, 1] or None."""
    ends = torch.cat([low, high], 1)
    return grid_of(ends, bits=bits, group_size=2, symmetric=symmetric, scale_dtype=scale_dtype)


def squared_error(weight: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> float:
    """Σ (w − ŵ)² of contiguous `weight` [rows, cols] on one grid for all (scale and zero point [1, 1]).

    Added up in float64, in one order whatever the number of threads.
    """
    total = 0.0
    flat = weight.reshape(1, -1)
    for start in range(0, flat.shape[1], _BLOCK_WEIGHTS):
        piece = flat[:, start : start + _BLOCK_WEIGHTS]
        error = _error(piece.float(), scale.float(), zero_point, bits, piece.dtype).double().cpu().numpy()
        total += float(np.einsum("ij,ij->", error, error))
    return total


def _search(
    block: Tensor, bits: int, symmetric: bool, dtype: torch.dtype, factors: list[float]
) -> tuple[Tensor, Tensor | None]:
    dtype_of_weight, groups = block.dtype, block.shape[0]
    block = block.float()
    if groups == 1:
        # torch splits a single sum between its threads, which changes the order; of two sums each is done by one.
        block = block.expand(2, -1).contiguous()
    low = block.amin(1, keepdim=True)
    high = block.amax(1, keepdim=True)
    best: tuple[Tensor, Tensor | None] | None = None
    least = torch.empty(0)
    for factor in factors:
        scale, zero = grid_of_range(low * factor, high * factor, bits=bits, symmetric=symmetric, scale_dtype=dtype)
        error = _error(block, scale.float(), zero, bits, dtype_of_weight).square_().sum(1, keepdim=True)
        if best is None:
            best, least = (scale, zero), error
            continue
        better = error < least
        least = torch.where(better, error, least)
        old_scale, old_zero = best
        kept_zero = None if zero is None or old_zero is None else torch.where(better, zero, old_zero)
        best = torch.where(better, scale, old_scale), kept_zero
    if best is None:
        raise ValueError("a clip search needs at least one shrink factor")
    found_scale, found_zero = best
    return found_scale[:groups], None if found_zero is None else found_zero[:groups]


def _error(block: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, dtype: torch.dtype) -> Tensor:
    """ŵ − w, float32 [n, size], of float32 `block` with one grid a row; ŵ is rounded to the weight's `dtype`."""
    half = float(1 << (bits - 1))
    offset = torch.zeros_like(scale) if zero_point is None else zero_point.float() - half
    codes = (block / scale).round_().add_(offset).clamp_(-half, half - 1)
    decoded = codes.sub_(offset).mul_(scale)
    return decoded.to(dtype).float().sub_(block) if dtype.itemsize < decoded.itemsize else decoded.sub_(block)
