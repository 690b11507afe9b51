"""From stored bits to values: tables for the types of at most 16 bits, and rows as floats for everything else."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.read import RawArray
from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.errors import CheckpointError

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


_WIDE = frozenset({"float32", "float64", "int32", "int64", "uint32", "uint64"})
_PAIRED = "float4_e2m1fn_x2"


@dataclass(frozen=True, slots=True)
class Finite:
    """The finite values of a piece, in its own dtype, and how many were left out."""

    values: RawArray
    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0


def check_real(dtype: str) -> None:
    """Raises CheckpointError when values of the dtype cannot be put in order: it is complex or unknown."""
    if dtype not in _WIDE and DTYPE_BITS.get(dtype, 128) > 16:
        raise CheckpointError(
            f"Values of type {dtype} cannot be shown",
            remedy="Histograms, heat maps and ranges need real numbers; the tensor itself is carried along unchanged.",
        )


def is_wide(dtype: str) -> bool:
    """Whether values have too many bit patterns (32 or 64 bits) to be counted one by one. Raises as `check_real`."""
    check_real(dtype)
    return dtype in _WIDE


def values_per_element(dtype: str) -> int:
    """2 where one stored element holds two values side by side (`float4_e2m1fn_x2`), else 1."""
    return 2 if dtype == _PAIRED else 1


@cache
def value_table(dtype: str) -> FloatArray:
    """The value of each bit pattern: float64 [65536] or [256]; [16] for the nibbles of `float4_e2m1fn_x2`.

    Sources: IEEE 754 (float16); arXiv:2209.05433 (float8_e4m3fn, which has no infinities, and float8_e5m2); OCP MX 1.0
    (float8_e8m0fnu, float4_e2m1fn_x2).
    """
    if dtype == _PAIRED:
        magnitudes = _minifloat(3, exponent_bits=2, mantissa_bits=1, bias=1)
        return np.concatenate([magnitudes, -magnitudes])
    if dtype == "float8_e8m0fnu":
        powers: FloatArray = np.ldexp(1.0, np.arange(256) - 127)
        powers[255] = np.nan
        return powers
    if dtype == "float8_e4m3fn":
        magnitudes = _minifloat(7, exponent_bits=4, mantissa_bits=3, bias=7)
        magnitudes[127] = np.nan
        return np.concatenate([magnitudes, -magnitudes])
    if dtype == "float8_e5m2":
        # It is the upper byte of an IEEE half, infinities and NaN included.
        return _as_float64((np.arange(256, dtype=np.uint16) << 8).view(np.float16))
    if dtype == "bfloat16":
        return _as_float64((np.arange(65536, dtype=np.uint32) << 16).view(np.float32))
    if dtype == "bool":
        return _as_float64(np.arange(256) != 0)
    unsigned = np.uint16 if DTYPE_BITS[dtype] == 16 else np.uint8
    return _as_float64(np.arange(2 ** DTYPE_BITS[dtype]).astype(unsigned).view(dtype))


def decode(raw: RawArray, dtype: str) -> RawArray:
    """`raw` as stored (bfloat16 as uint16, float8 as uint8) → float32 of the same shape, exact for up to 16 bits.

    float64 and integers of 32 and 64 bits become float64. `float4_e2m1fn_x2` doubles the last dimension: the low
    nibble comes first. Raises CheckpointError for complex and unknown dtypes.
    """
    if is_wide(dtype):
        return raw.astype(np.float32 if dtype == "float32" else np.float64, copy=False)
    if dtype == "bfloat16":
        return (raw.view(np.uint16).astype(np.uint32) << 16).view(np.float32)
    if dtype in ("float16", "int16", "uint16"):
        with np.errstate(invalid="ignore"):
            return raw.view(dtype).astype(np.float32)
    with np.errstate(invalid="ignore"):
        table = value_table(dtype).astype(np.float32)
    codes = raw.view(np.uint8)
    if dtype == _PAIRED:
        pairs = np.stack([codes & 15, codes >> 4], axis=-1)
        codes = pairs.reshape(*codes.shape[:-1], -1)
    return table[codes]


def split_finite(values: RawArray) -> Finite:
    """Leave NaN and infinities out of a one-dimensional piece and count them; integers pass untouched."""
    if values.size == 0 or values.dtype.kind != "f":
        return Finite(values)
    with np.errstate(invalid="ignore"):
        extremes = (values.min(), values.max())  # a NaN anywhere makes both NaN, so this looks at every value
    if np.isfinite(extremes).all():
        return Finite(values)
    return Finite(
        values[np.isfinite(values)],
        nan=int(np.count_nonzero(np.isnan(values))),
        pos_inf=int(np.count_nonzero(np.isposinf(values))),
        neg_inf=int(np.count_nonzero(np.isneginf(values))),
    )


def _as_float64(values: RawArray) -> FloatArray:
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return values.astype(np.float64)


def _minifloat(width: int, *, exponent_bits: int, mantissa_bits: int, bias: int) -> FloatArray:
    """The non-negative values of a small float with subnormals and without infinities: float64 [2**width]."""
    codes = np.arange(2**width)
    exponents = (codes >> mantissa_bits) & (2**exponent_bits - 1)
    fractions = (codes & (2**mantissa_bits - 1)) / 2**mantissa_bits
    normal = np.ldexp(1.0 + fractions, exponents - bias)
    values: FloatArray = np.where(exponents == 0, np.ldexp(fractions, 1 - bias), normal)
    return values
