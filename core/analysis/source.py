"""Where the numbers come from: anything that hands out blocks of rows, and threads that work on them in order."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

from benchvise.core.analysis.decoding import values_per_element
from benchvise.core.checkpoint.read import RawArray, block_rows, read_rows
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.progress import Progress

BLOCK_BYTES = 8 << 20
"""How much one thread works on at a time. Results merge block by block, so it must not depend on the machine."""

Item = TypeVar("Item")
T = TypeVar("T")


class Source(Protocol):
    """A tensor to look at: its stored shape and dtype (as `DTYPE_BITS` spells it) and its rows, in order."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> str: ...

    def blocks(self) -> Iterator[tuple[int, RawArray]]:
        """Yield (first row, rows as stored) from the first row to the last; the rows keep the other dimensions."""


@dataclass(frozen=True)
class EntrySource:
    """A tensor in a checkpoint's file, read in blocks of about `BLOCK_BYTES`, at least one row each."""

    entry: TensorEntry

    @property
    def shape(self) -> tuple[int, ...]:
        return self.entry.shape

    @property
    def dtype(self) -> str:
        return self.entry.dtype

    def blocks(self) -> Iterator[tuple[int, RawArray]]:
        """Read the rows. Raises CheckpointError when the file no longer holds what its header says."""
        for start, stop in _row_ranges(self.shape, self.dtype):
            yield start, read_rows(self.entry, start, stop)


@dataclass(frozen=True)
class ArraySource:
    """An array in memory, such as a decoded weight (float32).

    `stored_as` names the dtype where numpy has none: "bfloat16" for a uint16 array, "float8_e4m3fn" for uint8.
    """

    array: RawArray
    stored_as: str = ""

    @property
    def shape(self) -> tuple[int, ...]:
        return self.array.shape

    @property
    def dtype(self) -> str:
        return self.stored_as or self.array.dtype.name

    def blocks(self) -> Iterator[tuple[int, RawArray]]:
        """Views of the rows, nothing copied."""
        rows = self.array.reshape(1) if self.array.ndim == 0 else self.array
        for start, stop in _row_ranges(self.shape, self.dtype):
            yield start, rows[start:stop]


def matrix_shape(source: Source) -> tuple[int, int]:
    """The values as rows and columns [dim 0, all the rest]; a scalar is [1, 1] and a vector [n, 1]."""
    if not source.shape:
        return 1, 1
    columns = values_per_element(source.dtype)
    for size in source.shape[1:]:
        columns *= size
    return source.shape[0], columns


def size_bytes(source: Source) -> int:
    """Bytes of the tensor as stored."""
    rows, columns = matrix_shape(source)
    return rows * columns * DTYPE_BITS.get(source.dtype, 8) // (8 * values_per_element(source.dtype))


def flat_pieces(rows: RawArray, length: int) -> Iterator[RawArray]:
    """`rows` in row-major order as one-dimensional pieces of at most `length` elements."""
    flat = rows.reshape(-1)
    for start in range(0, flat.size, length):
        yield flat[start : start + length]


def observed_blocks(source: Source, progress: Progress) -> Iterator[tuple[int, RawArray]]:
    """The source's blocks; `progress` advances by the bytes of each as it is handed out, and may cancel."""
    for start, rows in source.blocks():
        yield start, rows
        progress.advance(rows.nbytes)


def map_in_order(items: Iterable[Item], task: Callable[[Item], T], threads: int | None) -> Iterator[T]:
    """Yield `task(item)` in the order of the items, computed on `threads` threads (all usable cores by default).

    At most one more item than threads is under way, so a tensor larger than memory streams through.
    """
    workers = threads or usable_cores()
    with ThreadPoolExecutor(workers, thread_name_prefix="analysis") as pool:
        under_way: deque[Future[T]] = deque()
        for item in items:
            under_way.append(pool.submit(task, item))
            if len(under_way) > workers:
                yield under_way.popleft().result()
        while under_way:
            yield under_way.popleft().result()


def usable_cores() -> int:
    """Cores this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def _row_ranges(shape: tuple[int, ...], dtype: str) -> Iterator[tuple[int, int]]:
    rows = 0 if 0 in shape else (*shape, 1)[0]
    step = block_rows(shape, dtype, BLOCK_BYTES)
    for start in range(0, rows, step):
        yield start, min(start + step, rows)
