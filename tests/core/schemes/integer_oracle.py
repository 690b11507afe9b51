"""Integer grids written down once more, group by group, in numpy and Python integers; no code shared with the core."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch

F32 = np.float32
_TINY = {"float16": 2.0**-14, "bfloat16": 2.0**-126, "float32": 2.0**-126}
_LARGEST = {"float16": 65504.0, "bfloat16": float.fromhex("0x1.fep127"), "float32": float.fromhex("0x1.fffffep127")}


@dataclass(frozen=True)
class Expected:
    """scale [rows, groups] and decoded [rows, columns] as float64, unsigned codes [rows, columns], zero points."""

    scale: np.ndarray
    zero: np.ndarray
    codes: np.ndarray
    decoded: np.ndarray


def rounded(values: np.ndarray, dtype: str) -> np.ndarray:
    """float32 values rounded to `dtype`, ties to even, and back."""
    values = np.asarray(values, F32)
    if dtype == "float16":
        return values.astype(np.float16).astype(F32)
    if dtype == "bfloat16":
        bits = values.view(np.uint32).astype(np.uint64)
        return ((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).astype(np.uint32).view(F32)
    return values


def grid(group: np.ndarray, bits: int, symmetric: bool, scale_dtype: str) -> tuple[np.float32, int]:
    """Scale and zero point (of unsigned codes) of float32 weights [n]."""
    if symmetric:
        step, zero = F32(np.abs(group).max()) / F32((2**bits - 1) / 2), 2 ** (bits - 1)
    else:
        low, high = min(F32(0), group.min()), max(F32(0), group.max())
        step = F32(high - low) / F32(2**bits - 1)
    step = min(max(step, F32(_TINY[scale_dtype])), F32(_LARGEST[scale_dtype]))
    scale = max(rounded(np.array([step]), scale_dtype)[0], F32(_TINY[scale_dtype]))
    if not symmetric:
        zero = int(min(max(np.rint(-low / scale), 0), 2**bits - 1))
    return scale, zero


def on_grid(group: np.ndarray, scale: np.float32, zero: int, bits: int, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Unsigned codes and decoded values, rounded to `dtype`, of float32 weights [n]."""
    codes = np.clip(np.rint(group / scale) + F32(zero), 0, 2**bits - 1).astype(np.int64)
    return codes, rounded((codes - zero).astype(F32) * scale, dtype)


def quantised(weight: torch.Tensor, bits: int, symmetric: bool, group_size: int, whole: bool = False) -> Expected:
    """Everything about `weight` [rows, columns] in groups of `group_size` of a row, or with one grid for all."""
    dtype = str(weight.dtype).removeprefix("torch.")
    scale_dtype = "float32" if dtype == "float64" else dtype
    values = weight.float().numpy()
    rows, columns = values.shape
    groups = values.reshape(1, 1, -1) if whole else values.reshape(rows, -1, group_size)
    scale, zero = np.zeros(groups.shape[:2]), np.zeros(groups.shape[:2], np.int64)
    codes, decoded = np.zeros(groups.shape, np.int64), np.zeros(groups.shape)
    for row in range(groups.shape[0]):
        for column in range(groups.shape[1]):
            one = groups[row, column]
            found = grid(one, bits, symmetric, scale_dtype)
            scale[row, column], zero[row, column] = found
            codes[row, column], decoded[row, column] = on_grid(one, *found, bits, dtype)
    return Expected(scale, zero, codes.reshape(rows, columns), decoded.reshape(rows, columns))


def unpacked(words: np.ndarray, bits: int, columns: int) -> np.ndarray:
    """Codes [rows, columns] from a little-endian bit stream of int32 words, one whole number a row."""
    found = []
    for row in words:
        stream = int.from_bytes(np.ascontiguousarray(row).astype("<i4").tobytes(), "little")
        found.append([(stream >> (bits * index)) & (2**bits - 1) for index in range(columns)])
        assert stream >> (bits * columns) == 0, "the bits after the last code are zero"
    return np.array(found)


def stored_values(stored: dict[str, torch.Tensor], bits: int, symmetric: bool, columns: int) -> np.ndarray:
    """ŵ = s·(u − z) in float64, read from the stored tensors alone: [rows, columns]."""
    scale = stored["weight_scale"].double().numpy()
    codes = unpacked(stored["weight_packed"].numpy(), bits, columns)
    zero: np.ndarray | int = 2 ** (bits - 1)
    if not symmetric:
        zero = unpacked(stored["weight_zero_point"].numpy().T, bits, scale.shape[0]).T
        zero = np.repeat(zero, columns // scale.shape[1], axis=1)
    return np.repeat(scale, columns // scale.shape[1], axis=1) * (codes - zero)
