"""How often each value occurs, exactly: types of at most 16 bits have so few bit patterns that each can be counted.

Every histogram, quantile and moment follows from these counts without touching the data again.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial

import numpy as np

from benchvise.core.analysis.decoding import FloatArray, IntArray, is_wide, value_table, values_per_element
from benchvise.core.analysis.source import Source, flat_pieces, map_in_order, observed_blocks, size_bytes
from benchvise.core.checkpoint.read import RawArray
from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.progress import Progress

# Larger pieces leave the second-level cache, smaller ones pay for adding up 65,536 counts too often.
_PIECE = 512 * 1024


@dataclass(frozen=True)
class PatternCounts:
    """The distinct finite values of a tensor and how often each occurs.

    values: float64 [n], ascending, only values that occur; −0 counts as 0.
    counts: int64 [n], all positive.
    """

    values: FloatArray
    counts: IntArray
    nan: int = 0
    pos_inf: int = 0
    neg_inf: int = 0

    @property
    def finite(self) -> int:
        """Number of finite values in the tensor."""
        return int(self.counts.sum())

    @property
    def total(self) -> int:
        """Number of values in the tensor, NaN and infinities included."""
        return self.finite + self.nan + self.pos_inf + self.neg_inf


def pattern_counts_of(source: Source, *, progress: Progress, threads: int | None = None) -> PatternCounts:
    """Count the values of a tensor of a type of at most 16 bits, in one pass. Advances in bytes.

    Raises CheckpointError for complex and unknown dtypes, ValueError for real ones that are wider.
    """
    if is_wide(source.dtype):
        raise ValueError(f"{source.dtype} has too many bit patterns to count")
    bits = DTYPE_BITS[source.dtype]
    progress.start(size_bytes(source), "bytes")
    totals = np.zeros(2**bits, np.int64)
    blocks = (rows for _, rows in observed_blocks(source, progress))
    for counts in map_in_order(blocks, partial(count_patterns, bits=bits), threads):
        totals += counts
    return decode_counts(totals, source.dtype)


def count_patterns(rows: RawArray, bits: int) -> IntArray:
    """Occurrences of each bit pattern of 8- or 16-bit elements of any shape: int64 [2**bits]."""
    counts = np.zeros(2**bits, np.int64)
    patterns = rows.reshape(-1).view(np.uint16 if bits == 16 else np.uint8)
    # `bincount` would make a fresh array of indices for every piece; the page faults cost as much as the counting.
    indices = np.empty(min(_PIECE, patterns.size), np.intp)
    for piece in flat_pieces(patterns, _PIECE):
        here = indices[: piece.size]
        np.copyto(here, piece)
        counts += np.bincount(here, minlength=counts.size)
    return counts


def decode_counts(counts: IntArray, dtype: str) -> PatternCounts:
    """From counts by bit pattern to counts by value."""
    if values_per_element(dtype) == 2:
        by_nibbles = counts.reshape(16, 16)
        counts = by_nibbles.sum(axis=0) + by_nibbles.sum(axis=1)
    table = value_table(dtype)
    occurring = np.isfinite(table) & (counts > 0)
    # Adding 0 turns −0 into 0, so that the two patterns of zero become one value.
    values, places = np.unique(table[occurring] + 0.0, return_inverse=True)
    merged = np.zeros(values.size, np.int64)
    np.add.at(merged, places, counts[occurring])
    return PatternCounts(
        values=values,
        counts=merged,
        nan=int(counts[np.isnan(table)].sum()),
        pos_inf=int(counts[np.isposinf(table)].sum()),
        neg_inf=int(counts[np.isneginf(table)].sum()),
    )
