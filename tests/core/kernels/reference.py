"""Quantising, packing and multiplying as plainly as possible, one number at a time: what the fast routes must equal.

Slow on purpose: Python's integers hold the bit stream, numpy's float32 scalars round as the hardware does, and nothing
is shared with the routes that are held against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

_MASK = 0xFFFFFFFF


@dataclass(frozen=True)
class ReferenceCodes:
    """codes: uint8 [rows, cols]; scale, in its stored dtype, and zero_point, uint8 or None: [rows, groups]."""

    codes: Tensor
    scale: Tensor
    zero_point: Tensor | None


def quantise(
    weight: Tensor, *, bits: int, group_size: int, symmetric: bool, scale_dtype: torch.dtype
) -> ReferenceCodes:
    """The codes of `weight` [rows, cols] and their grid; as `core.kernels.quantise.quantise_pack` before packing."""
    rows, cols = weight.shape
    groups = cols // group_size
    codes = torch.zeros((rows, cols), dtype=torch.uint8)
    scale = torch.zeros((rows, groups), dtype=scale_dtype)
    zero_point = torch.zeros((rows, groups), dtype=torch.uint8)
    values = weight.to(torch.float32).numpy()
    with np.errstate(over="ignore"):
        for row in range(rows):
            for group in range(groups):
                part = slice(group * group_size, (group + 1) * group_size)
                stored, zero = _grid(values[row, part], bits, symmetric, scale_dtype)
                scale[row, group] = stored
                zero_point[row, group] = zero
                step = np.float32(stored.float().item())
                codes[row, part] = torch.tensor([_code(value, step, zero, bits) for value in values[row, part]])
    return ReferenceCodes(codes, scale, None if symmetric else zero_point)


def dequantise(codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """ŵ = s · (u − z) in float64 [rows, cols]."""
    group_size = codes.shape[1] // scale.shape[1]
    zero = torch.full(scale.shape, 1 << (bits - 1)) if zero_point is None else zero_point
    steps = codes.double() - zero.double().repeat_interleave(group_size, 1)
    return steps * scale.double().repeat_interleave(group_size, 1)


def pack(codes: Tensor, bits: int) -> Tensor:
    """int32 [rows, words]: the codes of a row as the digits, base 2**bits, of one big integer, cut into words."""
    words = (codes.shape[1] * bits + 31) // 32
    packed = torch.zeros((codes.shape[0], words), dtype=torch.int32)
    for row, line in enumerate(codes.tolist()):
        stream = sum(code << (place * bits) for place, code in enumerate(line))
        for word in range(words):
            packed[row, word] = _signed((stream >> (32 * word)) & _MASK)
    return packed


def unpack(packed: Tensor, bits: int, cols: int) -> Tensor:
    """uint8 [rows, cols]: the digits of the big integer that the words of a row make."""
    codes = torch.zeros((packed.shape[0], cols), dtype=torch.uint8)
    for row, line in enumerate(packed.tolist()):
        stream = sum((word & _MASK) << (32 * place) for place, word in enumerate(line))
        for col in range(cols):
            codes[row, col] = (stream >> (col * bits)) & ((1 << bits) - 1)
    return codes


def multiply(x: Tensor, codes: Tensor, scale: Tensor, zero_point: Tensor | None, bits: int) -> Tensor:
    """x [tokens, cols] @ ŵᵀ in float64 [tokens, rows]."""
    return x.double() @ dequantise(codes, scale, zero_point, bits).T


def _grid(values: np.ndarray, bits: int, symmetric: bool, scale_dtype: torch.dtype) -> tuple[Tensor, int]:
    """The stored scale (a scalar tensor) and the zero point of one group of float32 `values`."""
    if symmetric:
        width = max(abs(value) for value in values) / np.float32((2**bits - 1) / 2)
        return _stored(width, scale_dtype), 1 << (bits - 1)
    low = min(np.float32(0), *values)
    high = max(np.float32(0), *values)
    stored = _stored((high - low) / np.float32(2**bits - 1), scale_dtype)
    zero = np.rint(-low / np.float32(stored.float().item()))
    return stored, int(min(max(zero, 0), 2**bits - 1))


def _stored(width: np.float32, dtype: torch.dtype) -> Tensor:
    limits = torch.finfo(dtype)
    bounded = min(max(float(width), limits.tiny), limits.max)
    rounded = torch.tensor(bounded, dtype=torch.float32).to(dtype)
    return rounded if rounded.item() >= limits.tiny else torch.tensor(limits.tiny, dtype=dtype)


def _code(value: np.float32, step: np.float32, zero: int, bits: int) -> int:
    steps = float(np.rint(value / step))  # float32 division; beyond 2^24 only its sign matters
    return int(min(max(steps + zero, 0), 2**bits - 1))


def _signed(word: int) -> int:
    return word - (1 << 32) if word >> 31 else word
