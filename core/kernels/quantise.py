"""Integer codes for weights: the grid of each group, the codes on it, and the codes packed into words.

All of it is float32 arithmetic from the weight's own dtype, and exact in the sense that every route (the slow
reference of the tests, eager torch, Triton) gives the same codes and scales bit for bit. Nothing here depends on the
number of threads: the only reductions are maxima and minima, which do not depend on their order.

    symmetric    u = clamp(round(w / s), −2^(b−1), 2^(b−1) − 1) + 2^(b−1)
    asymmetric   u = clamp(round(w / s) + z, 0, 2^b − 1)

with true division and ties to even; scale s and zero point z as in `core.kernels.grid`. Decoded: ŵ = s · (u − z), with
z = 2^(b−1) when symmetric. Source: arXiv:1712.05877, section 2.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.kernels.eager import CPU_BLOCK_WEIGHTS, EagerSteps
from benchvise.core.kernels.grid import asymmetric_grid, symmetric_scale
from benchvise.core.kernels.packing import words_per_row
from benchvise.core.kernels.routes import Route, RouteKind, choose_route


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
    to `scale_dtype`; an expanded view will do. Otherwise the grid is that of `grid_of`. The weight must be finite (see
    `is_finite`). Without a `route` the one that `choose_route` takes for this weight.
    Raises ValueError for a group size that does not divide the row, or a grid of another shape.
    """
    shape = _grid_shape(weight, bits, group_size)
    route = route or choose_route(weight)
    if scale is None and zero_point is not None:
        raise ValueError("a zero point was given without a scale")
    given = None if scale is None else _given_grid(scale, zero_point, shape, symmetric, scale_dtype)
    if route.kind is RouteKind.TRITON:
        from benchvise.core.kernels.triton_quantise import quantise_pack_triton

        return Packed(*quantise_pack_triton(weight, bits, group_size, symmetric, scale_dtype, given))
    grid = _Grid(*given, given=True) if given else _Grid.empty(weight, shape, symmetric, scale_dtype)
    packed = _quantise_pack_blocks(weight, grid, bits, EagerSteps(weight.device))
    return Packed(packed, grid.scale, grid.zero_point)


def grid_of(
    weight: Tensor, *, bits: int, group_size: int, symmetric: bool, scale_dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The grid of every group: scale `scale_dtype` [rows, groups], and zero point uint8 [rows, groups] or None."""
    grid = _Grid.empty(weight, _grid_shape(weight, bits, group_size), symmetric, scale_dtype)
    steps = EagerSteps(weight.device)
    for start, stop in _row_blocks(weight, steps.block_weights):
        grid.fill(start, stop, weight[start:stop].contiguous(), bits, steps)
    return grid.scale, grid.zero_point


def encode(weight: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """The codes of `weight` [rows, cols] on the grid `scale`, `zero_point` [rows, groups]: uint8 [rows, cols]."""
    _grid_shape(weight, bits, weight.shape[1] // max(1, scale.shape[1]))
    grid = _Grid(scale, zero_point, given=True)
    steps = EagerSteps(weight.device)
    codes = weight.new_empty(weight.shape, dtype=torch.uint8)
    for start, stop in _row_blocks(weight, steps.block_weights):
        grid.encode(start, stop, weight[start:stop].contiguous(), bits, steps, codes[start:stop])
    return codes


def decode(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """The values ŵ = s · (u − z) of `codes`; z = 2^(bits−1) without zero points.

    codes: uint8 [rows, cols]; scale: [rows, groups]; zero_point: uint8 [rows, groups]. Returns float32 [rows, cols].
    """
    rows, cols = codes.shape
    values = torch.empty((rows, cols), dtype=torch.float32, device=codes.device)
    for start, stop in _row_blocks(codes, CPU_BLOCK_WEIGHTS):
        block = values[start:stop].copy_(codes[start:stop]).view((stop - start) * scale.shape[1], -1)
        if zero_point is None:
            block.sub_(1 << (bits - 1))
        else:
            block.sub_(zero_point[start:stop].reshape(-1, 1))
        block.mul_(scale[start:stop].float().reshape(-1, 1))
    return values


def is_finite(weight: Tensor) -> bool:
    """Whether `weight` (any floating dtype, any shape) holds neither NaN nor infinity."""
    if weight.numel() == 0:
        return True
    low, high = torch.aminmax(weight)
    return bool(torch.isfinite(low) & torch.isfinite(high))


class _Grid:
    """Scales and zero points [rows, groups], given or filled block by block."""

    def __init__(self, scale: Tensor, zero_point: Tensor | None, *, given: bool) -> None:
        self.scale = scale
        self.zero_point = zero_point
        self.given = given

    @classmethod
    def empty(cls, weight: Tensor, shape: tuple[int, int], symmetric: bool, scale_dtype: torch.dtype) -> _Grid:
        zero_point = None if symmetric else weight.new_empty(shape, dtype=torch.uint8)
        return cls(weight.new_empty(shape, dtype=scale_dtype), zero_point, given=False)

    def fill(self, start: int, stop: int, block: Tensor, bits: int, steps: EagerSteps) -> None:
        """Compute the grid of the rows start..stop, whose weights are contiguous `block`."""
        scale = self.scale[start:stop]
        groups = block.view(scale.numel(), -1)
        if self.zero_point is None:
            scale.view(-1).copy_(symmetric_scale(steps.magnitudes(groups), bits, scale.dtype))
        else:
            low, high = steps.extremes(groups)
            found, zero_point = asymmetric_grid(low, high, bits, scale.dtype)
            scale.view(-1).copy_(found)
            self.zero_point[start:stop].view(-1).copy_(zero_point)

    def encode(self, start: int, stop: int, block: Tensor, bits: int, steps: EagerSteps, codes: Tensor) -> None:
        """Write the codes of the rows start..stop, whose weights are contiguous `block`, into contiguous `codes`."""
        scale = self.scale[start:stop].reshape(-1)
        zero_point = None if self.zero_point is None else self.zero_point[start:stop].reshape(-1)
        groups = block.view(scale.numel(), -1)
        steps.encode(groups, scale, zero_point, bits, codes.view(groups.shape))


def _quantise_pack_blocks(weight: Tensor, grid: _Grid, bits: int, steps: EagerSteps) -> Tensor:
    rows, cols = weight.shape
    packed = weight.new_empty((rows, words_per_row(cols, bits)), dtype=torch.int32)
    codes = weight.new_empty(min(weight.numel(), max(cols, steps.block_weights)), dtype=torch.uint8)
    for start, stop in _row_blocks(weight, steps.block_weights):
        block = weight[start:stop].contiguous()
        if not grid.given:
            grid.fill(start, stop, block, bits, steps)
        block_codes = codes[: block.numel()].view(block.shape)
        grid.encode(start, stop, block, bits, steps, block_codes)
        steps.pack(block_codes, bits, packed[start:stop])
    return packed


def _row_blocks(weight: Tensor, block_weights: int) -> list[tuple[int, int]]:
    rows, cols = weight.shape
    step = max(1, block_weights // max(1, cols))
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
    scale: Tensor, zero_point: Tensor | None, shape: tuple[int, int], symmetric: bool, scale_dtype: torch.dtype
) -> tuple[Tensor, Tensor | None]:
    """The grid the caller gave, checked and in the dtypes it is stored in."""
    if symmetric != (zero_point is None):
        raise ValueError("a given scale goes with a zero point exactly when the grid is asymmetric")
    if tuple(scale.shape) != shape or (zero_point is not None and tuple(zero_point.shape) != shape):
        raise ValueError(f"the grid must be [rows, groups] = {list(shape)}, not {list(scale.shape)}")
    return scale.to(scale_dtype), None if zero_point is None else zero_point.to(torch.uint8)
