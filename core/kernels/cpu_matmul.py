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

from benchvise.core.kernels.recentre import recentred
from benchvise.core.kernels.routes import INT4_CPU_GROUPS

Laid: TypeAlias = tuple[tuple[Tensor, ...], Callable[[Tensor], Tensor]]


def int4_linear(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Laid:
    """For `_weight_int4pack_mm_for_cpu`: ŵ = (u − 8) · s + t, with s and t in bfloat16; bits 1 to 4.

    codes: uint8 [rows, cols]; scale: any floating dtype, [rows, groups]; zero_point: uint8 [rows, groups]. The
    multiplication takes any floating dtype and gives bfloat16.
    Raises RuntimeError (torch's) for rows that are no multiple of 16.
    """
    cols = codes.shape[1]
    centred, shift = _recentred(codes, scale, zero_point, bits, 4)
    group_size = next(size for size in INT4_CPU_GROUPS if (cols // scale.shape[1]) % size == 0)
    repeats = cols // scale.shape[1] // group_size
    scale_and_shift = torch.stack([scale.float(), shift], dim=-1).to(torch.bfloat16)
    scale_and_shift = scale_and_shift.repeat_interleave(repeats, dim=1).transpose(0, 1).contiguous()
    weight = torch.ops.aten._convert_weight_to_int4pack_for_cpu(centred.to(torch.int32), 1)

    def multiply(x: Tensor) -> Tensor:
        x = x.to(torch.bfloat16).contiguous()
        y: Tensor = torch.ops.aten._weight_int4pack_mm_for_cpu(x, weight, group_size, scale_and_shift)
        return y

    return (weight, scale_and_shift), multiply


def int8_linear(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Laid:
    """For `_weight_int8pack_mm`: ŵ = (u − 128) · s + t with one s and t a row; columns a multiple of 16.

    codes: uint8 [rows, cols]; scale: any floating dtype, [rows, 1]; zero_point: uint8 [rows, 1]. The multiplication
    takes any floating dtype and gives bfloat16, or float32 where t is not 0.
    """
    centred, shift = _recentred(codes, scale, zero_point, bits, 8)
    weight = (centred ^ 0x80).view(torch.int8)
    row_scale = scale[:, 0].to(torch.bfloat16)

    def multiply(x: Tensor) -> Tensor:
        return torch._weight_int8pack_mm(x.to(torch.bfloat16).contiguous(), weight, row_scale)

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
