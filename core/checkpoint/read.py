"""Raw values of tensors, read straight from their files into memory of one's own.

Files are read at a position and never mapped: mapped pages would count as resident memory of whoever streams through a
checkpoint larger than the machine. Values come in the numpy dtype of the same width, see `raw_dtype`.
"""

from __future__ import annotations

import math
import os
from io import FileIO
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import DTYPE_BITS, Encoding, TensorEntry
from benchvise.core.errors import CheckpointError

RawArray = NDArray[Any]

_AS_INTEGERS = {"bfloat16": "uint16"} | {name: "uint8" for name in DTYPE_BITS if name.startswith(("float8", "float4"))}
_GATHER_BYTES = 16 << 20
_SPARSE_BYTES = 64 << 10


def raw_dtype(dtype: str) -> np.dtype[np.generic]:
    """The numpy dtype that holds values of `dtype` bit by bit: uint16 for bfloat16, uint8 for 8-bit floats.

    Raises CheckpointError for a dtype that is not known.
    """
    if dtype not in DTYPE_BITS:
        raise CheckpointError(f"The dtype '{dtype}' is unknown", remedy=f"Known are {', '.join(DTYPE_BITS)}.")
    return np.dtype(_AS_INTEGERS.get(dtype, dtype))


def rows(entry: TensorEntry) -> int:
    """How many rows `read_rows` sees: the size of dimension 0, or 1 for a scalar."""
    return entry.shape[0] if entry.shape else 1


def block_rows(shape: tuple[int, ...], dtype: str, block_bytes: int) -> int:
    """How many rows of a tensor of `shape` fit into `block_bytes`: at least 1, at most all of them (or 1 if none)."""
    row_bytes = math.prod(shape[1:]) * raw_dtype(dtype).itemsize
    count = shape[0] if shape else 1
    return max(1, min(count, block_bytes // max(1, row_bytes)))


def read_rows(entry: TensorEntry, start: int, stop: int) -> RawArray:
    """Rows `start` to `stop` along dimension 0, as a fresh writable array `[stop - start, *shape[1:]]`.

    A scalar is one row, `[1]`. Raises CheckpointError when the file is gone or has become shorter, ValueError for a
    tensor that lies in no file, and IndexError for rows that the tensor does not have.
    """
    if entry.cut:
        raise ValueError(f"'{entry.name}' is cut by surgery: its values come from `Weights`")
    if not 0 <= start <= stop <= rows(entry):
        raise IndexError(f"rows {start}:{stop} of '{entry.name}' with shape {entry.shape}")
    if entry.encoding is not None:
        return _decoded(entry, entry.encoding, start, stop)
    values = np.empty((stop - start, *entry.shape[1:]), raw_dtype(entry.dtype))
    if not values.size:
        return values
    with _open(entry) as file:
        if entry.strides is None:
            _fill(file, values, entry.offset + start * values[0].nbytes, entry)
        else:
            _gather(file, values, entry.offset + start * entry.strides[0] * values.itemsize, entry.strides, entry)
    return values


def read_bytes(entry: TensorEntry, offset: int, nbytes: int) -> NDArray[np.uint8]:
    """The bytes of `entry.file` at `offset`, uint8 [nbytes]. Raises CheckpointError as `read_rows`."""
    values = np.empty(nbytes, np.uint8)
    with _open(entry) as file:
        _fill(file, values, offset, entry)
    return values


def _decoded(entry: TensorEntry, encoding: Encoding, start: int, stop: int) -> RawArray:
    row = math.prod(entry.shape[1:])
    low, high, width = start * row, stop * row, max(1, encoding.width)
    shape = (stop - start, *entry.shape[1:])
    if low == high:
        return np.empty(shape, raw_dtype(entry.dtype))
    first, last = low // width, -(-high // width)
    flat = encoding.lines(entry, first, last).reshape(-1)
    return np.require(flat[low - first * width : high - first * width].reshape(shape), requirements=["C", "W"])


def _open(entry: TensorEntry) -> FileIO:
    try:
        return FileIO(entry.file)
    except OSError as error:
        raise CheckpointError(
            f"'{entry.name}' cannot be read: {error.strerror}",
            where=entry.file,
            remedy="Was the file moved or deleted after the checkpoint was opened? Open the checkpoint again.",
        ) from error


def _fill(file: FileIO, values: RawArray, offset: int, entry: TensorEntry) -> None:
    """Fills the contiguous array `values` with the bytes at `offset`."""
    view = values.reshape(-1).view(np.uint8).data
    done = 0
    while done < len(view):
        try:
            count = _read_at(file, view[done:], offset + done)
        except OSError as error:
            raise CheckpointError(f"'{entry.name}' cannot be read: {error.strerror}", where=entry.file) from error
        if not count:
            raise CheckpointError(
                f"The file ends within '{entry.name}'",
                where=entry.file,
                remedy="It has become shorter since the checkpoint was opened; restore it and open it again.",
            )
        done += count


def _read_at(file: FileIO, view: memoryview, offset: int) -> int:
    if hasattr(os, "preadv"):
        return os.preadv(file.fileno(), [view], offset)
    file.seek(offset)
    return file.readinto(view) or 0


def _gather(file: FileIO, values: RawArray, offset: int, strides: tuple[int, ...], entry: TensorEntry) -> None:
    """Fills `values` with elements that lie `strides` elements apart, starting at the byte `offset`.

    What lies between is read too, in pieces of at most 16 MB, unless that would be mostly waste.
    """
    last = sum((size - 1) * stride for size, stride in zip(values.shape, strides, strict=True))
    span_bytes = (last + 1) * values.itemsize
    wasteful = span_bytes > 4 * values.nbytes and values.nbytes > _SPARSE_BYTES
    if values.size > 1 and (span_bytes > _GATHER_BYTES or wasteful):
        sizes = [stride if size > 1 else -1 for size, stride in zip(values.shape, strides, strict=True)]
        axis = sizes.index(max(sizes))
        middle = values.shape[axis] // 2
        first, second = np.split(values, [middle], axis)
        _gather(file, first, offset, strides, entry)
        _gather(file, second, offset + middle * strides[axis] * values.itemsize, strides, entry)
        return
    span = np.empty(last + 1, values.dtype)
    _fill(file, span, offset, entry)
    apart = [stride * values.itemsize for stride in strides]
    values[...] = np.lib.stride_tricks.as_strided(span, values.shape, apart, writeable=False)
