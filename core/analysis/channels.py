"""Ranges of a weight's channels: what decides between one scale per tensor and one per channel."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchvise.core.analysis.decoding import FloatArray, IntArray, check_real, decode
from benchvise.core.analysis.source import Source, map_in_order, matrix_shape, observed_blocks, size_bytes
from benchvise.core.checkpoint.read import RawArray
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import ChannelRanges

_PIECE = 256 * 1024


@dataclass(frozen=True)
class _Sums:
    """Of the finite values of some channels: extremes (infinite when none), sum, and count. All [channels]."""

    smallest: FloatArray
    largest: FloatArray
    total: FloatArray
    count: IntArray

    @classmethod
    def empty(cls, channels: int) -> _Sums:
        return cls(
            np.full(channels, np.inf), np.full(channels, -np.inf), np.zeros(channels), np.zeros(channels, np.int64)
        )

    def add(self, other: _Sums, where: slice = slice(None)) -> None:
        """Take further values of the channels `where` into account."""
        np.minimum(self.smallest[where], other.smallest, out=self.smallest[where])
        np.maximum(self.largest[where], other.largest, out=self.largest[where])
        self.total[where] += other.total
        self.count[where] += other.count

    def ranges(self) -> ChannelRanges:
        some = self.count > 0
        with np.errstate(over="ignore"):
            smallest, largest, mean = (
                np.divide(numbers, divisor, out=np.full(some.size, np.nan), where=some).astype(np.float32)
                for numbers, divisor in ((self.smallest, 1), (self.largest, 1), (self.total, self.count))
            )
        return ChannelRanges(smallest, largest, np.maximum(np.abs(smallest), np.abs(largest)), mean)


def channel_ranges_of(
    source: Source, *, progress: Progress, threads: int | None = None
) -> tuple[ChannelRanges, ChannelRanges]:
    """Ranges of the rows and of the columns of a tensor of any real dtype, in one pass; advances in bytes.

    For a Linear weight [out, in], rows are output channels and columns input channels. A vector is one column.
    """
    check_real(source.dtype)
    progress.start(size_bytes(source), "bytes")
    rows, columns = (_Sums.empty(size) for size in matrix_shape(source))
    for start, of_rows, of_columns in map_in_order(
        observed_blocks(source, progress), partial(_sum_block, dtype=source.dtype), threads
    ):
        rows.add(of_rows, slice(start, start + of_rows.count.size))
        columns.add(of_columns)
    return rows.ranges(), columns.ranges()


def _sum_block(block: tuple[int, RawArray], dtype: str) -> tuple[int, _Sums, _Sums]:
    start, stored = block
    rows = _Sums.empty(len(stored))
    columns = _Sums.empty(0)
    for first, piece in _row_pieces(stored):
        values = _as_matrix(piece, dtype)
        if not columns.count.size:
            columns = _Sums.empty(values.shape[1])
        rows.add(_sums(values, axis=1), slice(first, first + len(piece)))
        columns.add(_sums(values, axis=0))
    return start, rows, columns


def _sums(values: FloatArray, axis: int) -> _Sums:
    with np.errstate(invalid="ignore", over="ignore"):
        smallest, largest = values.min(axis), values.max(axis)
        if np.isfinite(smallest).all() and np.isfinite(largest).all():
            count = np.full(smallest.size, values.shape[axis], np.int64)
            return _Sums(smallest, largest, values.sum(axis), count)
        finite = np.isfinite(values)
        return _Sums(
            smallest=values.min(axis, where=finite, initial=np.inf),
            largest=values.max(axis, where=finite, initial=-np.inf),
            total=values.sum(axis, where=finite),
            count=finite.sum(axis),
        )


def _as_matrix(rows: RawArray, dtype: str) -> FloatArray:
    with np.errstate(invalid="ignore"):  # a signalling NaN becomes a quiet one
        return decode(rows, dtype).reshape(len(rows), -1).astype(np.float64)


def _row_pieces(rows: RawArray) -> Iterator[tuple[int, RawArray]]:
    step = max(1, _PIECE * len(rows) // max(1, rows.size))
    for first in range(0, len(rows), step):
        yield first, rows[first : first + step]
