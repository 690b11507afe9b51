"""Integer codes for weights: the grid of each group, the codes on it, and the codes packed into words.

All of it is float32 arithmetic from the weight's own dtype, and exact in the sense that every route (the slow
reference, this eager one, compiled C++, Triton) gives the same codes and scales bit for bit. Nothing here depends on
the number of threads: the only reductions are maxima and minima, which do not depend on their order.

    symmetric    s = max|w| / ((2^b − 1) / 2);  u = clamp(round(w / s), −2^(b−1), 2^(b−1) − 1) + 2^(b−1)
    asymmetric   lo = min(0, w), hi = max(0, w);  s = (hi − lo) / (2^b − 1);  z = clamp(round(−lo / s), 0, 2^b − 1)
                 u = clamp(round(w / s) + z, 0, 2^b − 1)

where s is first kept within the normal numbers of the scale's dtype and rounded to it, and round is to nearest, ties to
even. Decoded: ŵ = s · (u − z), with z = 2^(b−1) when symmetric.
Source: arXiv:1712.05877, section 2; the half range of the symmetric grid as in vllm-project/compressed-tensors.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from core.kernels.packing import pack_rows_into, words_per_row
from core.kernels.routes import Route, RouteKind, choose_route

# A block of this many weights, as float32 and with its codes, stays in the second-level cache of two cores.
CPU_BLOCK_WEIGHTS = 1 << 18
# On a GPU the blocks only bound the scratch memory.
GPU_BLOCK_WEIGHTS = 1 << 26


@dataclass(frozen=True)
class Packed:
    """A quantised weight [rows, cols].

    packed: int32 [rows, ceil(cols·bits / 32)], see `core.kernels.packing`.
    scale: [rows, groups] in the dtype it is stored in. zero_point: uint8 [rows, groups], or None when symmetric.
    """

    packed: Tensor
    scale: Tensor
    zero_point: Tensor | None


def quantise_pack(
    weight: Tensor,
    *,
    bits: int,
    group_size: int,
    symmetric: bool,
    scale_dtype: torch.dtype,
    scale: Tensor | None = None,
    zero_point: Tensor | None = None,
    route: Route | None = None,
) -> Packed:
    """Quantise `weight` [rows, cols] in groups of `group_size` along its rows and pack the codes.

    A given `scale` [rows, groups] (with a `zero_point` uint8 [rows, groups] unless symmetric) is used as it is, rounded
    to `scale_dtype`; otherwise the grid is that of `grid_of`. The weight must be finite (`is_finite`).
    Raises ValueError for a group size that does not divide the row, or a grid of another shape.
    """
    grid = _given_grid(weight, bits, group_size, symmetric, scale_dtype, scale, zero_point)
    route = route or choose_route(weight, weight.numel())
    if route.kind is not RouteKind.EAGER_CHUNKED:
        raise NotImplementedError(route.kind)
    return _quantise_pack_eager(weight, bits, group_size, symmetric, scale_dtype, grid)


def grid_of(
    weight: Tensor, *, bits: int, group_size: int, symmetric: bool, scale_dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The grid of every group: scale `scale_dtype` [rows, groups], and zero point uint8 [rows, groups] or None."""
    rows, groups = _grid_shape(weight, bits, group_size)
    scale = weight.new_empty((rows, groups), dtype=scale_dtype)
    zero_point = None if symmetric else weight.new_empty((rows, groups), dtype=torch.uint8)
    for start, stop in _row_blocks(weight):
        block = weight[start:stop].contiguous().view(-1, group_size)
        _grid_into(block, bits, scale[start:stop], None if zero_point is None else zero_point[start:stop])
    return scale, zero_point


def encode(weight: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """The codes of `weight` [rows, cols] on the grid `scale`, `zero_point` [rows, groups]: uint8 [rows, cols]."""
    group_size = weight.shape[1] // scale.shape[1]
    _grid_shape(weight, bits, group_size)
    codes = weight.new_empty(weight.shape, dtype=torch.uint8)
    for start, stop in _row_blocks(weight):
        zero = None if zero_point is None else zero_point[start:stop]
        _encode_into(weight[start:stop], scale[start:stop], zero, bits, codes[start:stop])
    return codes


def decode(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """The values ŵ = s · (u − z) of `codes`; z = 2^(bits−1) without zero points.

    codes: uint8 [rows, cols]; scale: [rows, groups]; zero_point: uint8 [rows, groups]. Returns float32 [rows, cols].
    """
    rows, cols = codes.shape
    values = torch.empty((rows, cols), dtype=torch.float32, device=codes.device)
    for start, stop in _row_blocks(codes):
        block = values[start:stop].copy_(codes[start:stop]).view(-1, cols // scale.shape[1])
        if zero_point is None:
            block.sub_(1 << (bits - 1))
        else:
            block.sub_(zero_point[start:stop].reshape(-1, 1))
        block.mul_(scale[start:stop].float().reshape(-1, 1))
    return values


def is_finite(weight: Tensor) -> bool:
    """Whether `weight` (any floating dtype and shape) holds neither NaN nor infinity."""
    if weight.numel() == 0:
        return True
    low, high = torch.aminmax(weight)
    return bool(torch.isfinite(low) & torch.isfinite(high))


def _quantise_pack_eager(
    weight: Tensor,
    bits: int,
    group_size: int,
    symmetric: bool,
    scale_dtype: torch.dtype,
    grid: tuple[Tensor, Tensor | None] | None,
) -> Packed:
    rows, cols = weight.shape
    groups = cols // group_size
    packed = weight.new_empty((rows, words_per_row(cols, bits)), dtype=torch.int32)
    if grid is None:
        scale = weight.new_empty((rows, groups), dtype=scale_dtype)
        zero_point = None if symmetric else weight.new_empty((rows, groups), dtype=torch.uint8)
    else:
        scale, zero_point = grid
    for start, stop in _row_blocks(weight):
        block = weight[start:stop].contiguous()
        zero = None if zero_point is None else zero_point[start:stop]
        if grid is None:
            _grid_into(block.view(-1, group_size), bits, scale[start:stop], zero)
        codes = torch.empty(block.shape, dtype=torch.uint8, device=weight.device)
        _encode_into(block, scale[start:stop], zero, bits, codes)
        pack_rows_into(codes, bits, packed[start:stop])
    return Packed(packed, scale, zero_point)


def _grid_into(block: Tensor, bits: int, scale: Tensor, zero_point: Tensor | None) -> None:
    """Write the grid of contiguous `block` [groups, group_size] into `scale` and `zero_point` (None: symmetric)."""
    if zero_point is None:
        width = _divided(_absolute_maximum(block), (2**bits - 1) / 2)
    else:
        values = block.to(torch.float32)
        low = values.amin(1).clamp_(max=0)
        high = values.amax(1).clamp_(min=0)
        width = _divided(high - low, 2**bits - 1)
    scale.copy_(_stored(width, scale.dtype).view(scale.shape))
    if zero_point is not None:
        zero = torch.round(-low / scale.float().view(-1)).clamp_(0, 2**bits - 1)
        zero_point.copy_(zero.view(zero_point.shape))


def _divided(numerator: Tensor, denominator: float) -> Tensor:
    # By a tensor, since on a GPU torch divides by a number through its reciprocal, which rounds differently.
    return numerator / numerator.new_tensor([denominator])


def _absolute_maximum(block: Tensor) -> Tensor:
    """float32 [groups]: the largest magnitude of each group of contiguous `block` [groups, group_size]."""
    if block.dtype in (torch.float16, torch.bfloat16):
        # Without their sign these are ordered as integers are, NaN above all; and integers reduce ten times faster.
        magnitudes = torch.bitwise_and(block.view(torch.int16), 0x7FFF)
        return magnitudes.amax(1).view(block.dtype).float()
    return block.float().abs().amax(1)


def _stored(width: Tensor, dtype: torch.dtype) -> Tensor:
    """float32 `width` within the normal numbers of `dtype`, rounded to it."""
    limits = torch.finfo(dtype)
    return width.clamp_(limits.tiny, limits.max).to(dtype).clamp_(min=limits.tiny)


def _encode_into(block: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, codes: Tensor) -> None:
    """Write the codes of `block` [rows, cols] into contiguous uint8 `codes` of the same shape."""
    half = 1 << (bits - 1)
    values = torch.empty(block.shape, dtype=torch.float32, device=block.device)
    values.copy_(block)
    by_group = values.view(scale.numel(), -1)
    by_group.div_(scale.float().reshape(-1, 1)).round_()
    if zero_point is not None:
        by_group.add_(zero_point.reshape(-1, 1).float().sub_(half))
    # Signed first: float32 to int8 is a vector instruction where float32 to uint8 is a loop, six times slower.
    codes.view(torch.int8).copy_(values.clamp_(-half, half - 1))
    codes.add_(half)


def _row_blocks(weight: Tensor) -> list[tuple[int, int]]:
    rows, cols = weight.shape
    limit = CPU_BLOCK_WEIGHTS if weight.device.type == "cpu" else GPU_BLOCK_WEIGHTS
    step = max(1, limit // max(1, cols))
    return [(start, min(start + step, rows)) for start in range(0, rows, step)]


def _grid_shape(weight: Tensor, bits: int, group_size: int) -> tuple[int, int]:
    """[rows, groups] of the grid. Raises ValueError where there is none."""
    if weight.dim() != 2 or not weight.dtype.is_floating_point:
        raise ValueError(f"expected a matrix of floating numbers, not {weight.dtype} {list(weight.shape)}")
    if not 1 <= bits <= 8:
        raise ValueError(f"bits must be 1 to 8, not {bits}")
    rows, cols = weight.shape
    if group_size < 1 or cols % group_size:
        raise ValueError(f"groups of {group_size} do not divide rows of {cols} weights")
    return rows, cols // group_size


def _given_grid(
    weight: Tensor,
    bits: int,
    group_size: int,
    symmetric: bool,
    scale_dtype: torch.dtype,
    scale: Tensor | None,
    zero_point: Tensor | None,
) -> tuple[Tensor, Tensor | None] | None:
    """The grid the caller gave, checked and in the dtypes it is stored in; None when it is to be computed."""
    shape = _grid_shape(weight, bits, group_size)
    if scale is None:
        if zero_point is not None:
            raise ValueError("a zero point was given without a scale")
        return None
    if symmetric != (zero_point is None):
        raise ValueError("a given scale goes with a zero point exactly when the grid is asymmetric")
    if tuple(scale.shape) != shape or (zero_point is not None and tuple(zero_point.shape) != shape):
        raise ValueError(f"the grid must be [rows, groups] = {list(shape)}, not {list(scale.shape)}")
    return scale.to(scale_dtype), None if zero_point is None else zero_point.to(torch.uint8)
