"""Compressed weights laid out for the kernels that torch brings for CPUs: int4 and int8 weights, bfloat16 activations.

Each function takes uint8 codes [rows, cols] with their grid [rows, groups] and returns the tensors that the weight is
kept as and the multiplication x [tokens, cols] → [tokens, rows]. What was measured of these kernels is told in
`tests/benchmarks/matmul_routes.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchvise.core.kernels.recentre import recentred
from benchvise.core.methods.grouping import KERNEL_GROUPS

INT4_ROWS, INT4_COLS, INT8_COLS = 16, KERNEL_GROUPS[-1], 16
"""What the kernels' shapes are multiples of."""

Laid: TypeAlias = tuple[tuple[Tensor, ...], Callable[[Tensor], Tensor]]


def int4_linear(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Laid:
    """For `_weight_int4pack_mm_for_cpu`: ŵ = (u − 8) · s + t, with s and t in bfloat16; bits 1 to 4.

    codes: uint8 [rows, cols]; scale: any floating dtype, [rows, groups]; zero_point: uint8 [rows, groups]. The
    multiplication takes any floating dtype and gives bfloat16.
    Rows that are no multiple of 16 are filled up with rows that nobody reads, and so, under one scale a row, are
    columns that are no multiple of 32.
    """
    centred, shift = _recentred(codes, scale, zero_point, bits, 4)
    weight, grid, group_size = _int4_packed(centred, scale.float(), shift)
    rows, missing = codes.shape[0], -codes.shape[1] % INT4_COLS

    def multiply(x: Tensor) -> Tensor:
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(_half(x, missing), weight, group_size, grid)
        return y[:, :rows]

    return (weight, grid), multiply


def int8_groups_linear(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Laid:
    """For two calls of `_weight_int4pack_mm_for_cpu`, as torch has no int8 kernel with a scale for each group.

    u − 128 = 16·(h − 8) + l with the halves h and l of a code: one product has the scales 16·s, the other s, and both
    read what int8 codes would take.

    codes: uint8 [rows, cols] of up to 8 bits; scale: any floating dtype, [rows, groups]; zero_point: uint8 [rows,
    groups]. Rows and columns are filled up as `int4_linear` does. The multiplication takes any floating dtype and gives
    float32.
    """
    centred, shift = _recentred(codes, scale, zero_point, bits, 8)
    scale = scale.float().to(torch.bfloat16).float()
    # What bfloat16 loses of one shift, the other makes good.
    coarse = shift.to(torch.bfloat16).float()
    high, grid, group_size = _int4_packed(centred >> 4, scale * 16, coarse)
    low, fine, _ = _int4_packed(centred & 15, scale, scale * 8 + (shift - coarse))
    rows, missing = codes.shape[0], -codes.shape[1] % INT4_COLS

    def multiply(x: Tensor) -> Tensor:
        x = _half(x, missing)
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x, high, group_size, grid)
        return y.float().add_(torch.ops.aten._weight_int4pack_mm_for_cpu(x, low, group_size, fine))[:, :rows]

    return (high, grid, low, fine), multiply


def _int4_packed(codes: Tensor, scale: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, int]:
    """The kernel's weight, its scales and shifts, and its group size: of uint8 codes [rows, cols] below 16."""
    rows, cols = codes.shape
    missing = -rows % INT4_ROWS, -cols % INT4_COLS
    codes = pad(codes, (0, missing[1], 0, missing[0]), value=8)
    size = (cols + missing[1]) // scale.shape[1]
    group_size = next(each for each in KERNEL_GROUPS if size % each == 0)
    grid = torch.stack([scale, shift], dim=-1).to(torch.bfloat16)
    grid = pad(grid, (0, 0, 0, 0, 0, missing[0])).repeat_interleave(size // group_size, dim=1)
    weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(codes.to(torch.int32), 1)
    return weight, grid.transpose(0, 1).contiguous(), group_size


def _half(x: Tensor, missing: int) -> Tensor:
    """The inputs as kernels read them, with so many columns of zeros more."""
    x = x.to(torch.bfloat16)
    return pad(x, (0, missing)) if missing else x.contiguous()


def int8_linear(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Laid:
    """For `_weight_int8pack_mm`: ŵ = (u − 128) · s + t with one s and t a row.

    The kernel writes outside its memory for several inputs when the columns are no multiple of 16: they are filled up.

    codes: uint8 [rows, cols]; scale: any floating dtype, [rows, 1]; zero_point: uint8 [rows, 1]. The multiplication
    takes any floating dtype and gives bfloat16, or float32 where t is not 0.
    """
    centred, shift = _recentred(codes, scale, zero_point, bits, 8)
    missing = -codes.shape[1] % INT8_COLS
    weight = pad((centred ^ 0x80).view(torch.int8), (0, missing))
    row_scale = scale[:, 0].to(torch.bfloat16)

    def multiply(x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(_half(x, missing), weight, row_scale)

    if not shift.any():
        return (weight, row_scale), multiply
    row_shift = shift[:, 0].contiguous()

    def multiply_shifted(x: Tensor) -> Tensor:
        # The kernel knows no zero points: what they add to a row's products is the sum of the inputs times t.
        return multiply(x) + x.float().sum(1, keepdim=True) * row_shift

    return (weight, row_scale, row_shift), multiply_shifted


def _recentred(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int, wide: int) -> tuple[Tensor, Tensor]:
    """Codes of `wide` bits, uint8, whose zero is 2^(wide−1), and what is left to add: float32 [rows, groups].

    Nothing is left to add where bits < wide or the grid is symmetric.
    """
    if zero_point is not None and bits == wide:
        return codes, ((1 << (wide - 1)) - zero_point.float()) * scale.float()
    return recentred(codes, zero_point, bits, wide), torch.zeros_like(scale, dtype=torch.float32)
