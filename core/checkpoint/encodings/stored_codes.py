"""Codes and small numbers as quantised layers store them, unpacked to arrays."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.read import read_rows, rows
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError

WORD = 32

FP4 = np.array([0, 0.5, 1, 1.5, 2, 3, 4, 6, -0.0, -0.5, -1, -1.5, -2, -3, -4, -6], np.float32)
"""The values of E2M1 by code: the sign is the highest bit."""


def unpack_words(words: NDArray[np.generic], bits: int, count: int) -> NDArray[np.uint8]:
    """The first `count` codes of each line of words [lines, words], uint8 [lines, count].

    A line is a stream of bits, lowest first, in which codes may straddle words of 32 bits.
    """
    raw = np.ascontiguousarray(words).view(np.uint8)
    if 8 % bits == 0:
        shifts = np.arange(0, 8, bits, dtype=np.uint8)
        codes = (raw[:, :, None] >> shifts) & np.uint8((1 << bits) - 1)
        return codes.reshape(len(raw), -1)[:, :count]
    stream = np.unpackbits(raw, axis=1, count=count * bits, bitorder="little").reshape(len(raw), count, bits)
    return np.packbits(stream, axis=2, bitorder="little")[:, :, 0]


def columns_of(entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
    """Columns `first` to `last` of a stored matrix [rows, columns], as lines [last - first, rows] in its raw dtype.

    Raises CheckpointError as `read_rows`.
    """
    height, width = entry.shape
    by_row, by_column = entry.strides or (width, 1)
    return read_rows(replace(entry, shape=(width, height), strides=(by_column, by_row)), first, last)


def as_floats(values: NDArray[np.generic], dtype: str) -> NDArray[np.float32]:
    """Raw values, as `read_rows` gives them for a tensor of `dtype`, as float32 of the same shape
    [*values.shape].

    Raises CheckpointError for a dtype that holds no real numbers known here.
    """
    if dtype == "bfloat16":
        widened: NDArray[np.float32] = (values.astype(np.uint32) << np.uint32(16)).view(np.float32)
        return widened
    if dtype in _TABLES:
        listed: NDArray[np.float32] = _TABLES[dtype][values]
        return listed
    if dtype.startswith(("float8", "float4", "complex")):
        raise CheckpointError(f"Numbers of the dtype {dtype} are not read here")
    return values.astype(np.float32)


def floats(entry: TensorEntry) -> NDArray[np.float32]:
    """The whole tensor as float32 [*entry.shape]. Raises CheckpointError as `read_rows`."""
    return as_floats(read_rows(entry, 0, rows(entry)), entry.dtype).reshape(entry.shape)


def as_dtype(values: NDArray[np.float32], dtype: str) -> NDArray[np.generic]:
    """Values [*values.shape] rounded to `dtype`: float32, float16, float64 or, bit by bit as uint16, bfloat16."""
    if dtype != "bfloat16":
        with np.errstate(over="ignore"):
            return values.astype(dtype)
    raw = np.ascontiguousarray(values).view(np.uint32)
    rounded = (raw + np.uint32(0x7FFF) + ((raw >> np.uint32(16)) & np.uint32(1))) >> np.uint32(16)
    return np.where(np.isnan(values), np.uint16(0x7FC0), rounded.astype(np.uint16))


def _small_floats(exponent_bits: int, mantissa_bits: int, bias: int) -> NDArray[np.float64]:
    """The values of 8-bit floats by code, as the formula gives them: infinities and NaN are put in by others."""
    codes = np.arange(256)
    exponent = (codes >> mantissa_bits) & ((1 << exponent_bits) - 1)
    fraction = (codes & ((1 << mantissa_bits) - 1)) / (1 << mantissa_bits)
    size = np.where(exponent == 0, np.ldexp(fraction, 1 - bias), np.ldexp(1 + fraction, exponent - bias))
    return np.where(codes < 128, size, -size)


def _tables() -> dict[str, NDArray[np.float32]]:
    e4m3, e5m2 = _small_floats(4, 3, 7), _small_floats(5, 2, 15)
    e4m3[[0x7F, 0xFF]] = np.nan
    e5m2[[0x7C, 0xFC]] = np.inf, -np.inf
    e5m2[[0x7D, 0x7E, 0x7F, 0xFD, 0xFE, 0xFF]] = np.nan
    e4m3_zero, e5m2_zero = _small_floats(4, 3, 8), _small_floats(5, 2, 16)
    e4m3_zero[0x80] = e5m2_zero[0x80] = np.nan
    powers = np.ldexp(1.0, np.arange(256) - 127)
    powers[255] = np.nan
    named = {
        "float8_e4m3fn": e4m3, "float8_e5m2": e5m2, "float8_e4m3fnuz": e4m3_zero, "float8_e5m2fnuz": e5m2_zero,
        "float8_e8m0fnu": powers,
    }  # fmt: skip
    return {name: table.astype(np.float32) for name, table in named.items()}


_TABLES = _tables()
POWERS_OF_TWO = _TABLES["float8_e8m0fnu"]
"""What a byte stands for that holds an exponent alone: 2 to the power of the byte less 127."""
