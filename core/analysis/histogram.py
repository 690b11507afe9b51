"""Exact histograms with uniform bins: `np.histogram`'s rule, streamed, on all cores."""

from __future__ import annotations

import math
from functools import partial

import numpy as np

from benchvise.core.analysis.decoding import FloatArray, IntArray, is_wide, split_finite
from benchvise.core.analysis.source import Source, flat_pieces, map_in_order, observed_blocks, size_bytes
from benchvise.core.analysis.value_counts import PatternCounts, pattern_counts_of
from benchvise.core.checkpoint.read import RawArray
from benchvise.core.errors import UserError
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import Histogram

MAX_BINS = 65_536
PIECE = 128 * 1024
"""Values worked on at once: few enough for the cache, enough for threads not to wait for the interpreter."""

Range = tuple[float, float]


def histogram_of(
    source: Source, bins: int, value_range: Range | None = None, *, progress: Progress, threads: int | None = None
) -> Histogram:
    """The exact histogram of a tensor of any real dtype: what `np.histogram` counts of its finite values in float64.

    value_range: lowest and highest edge; by default the smallest and largest finite value. A constant tensor gets
    half a unit on each side; a tensor without finite values gets edges from 0 to 1 and counts of 0.
    Types of at most 16 bits take one pass (keep `pattern_counts_of` to bin again for nothing), wider ones two,
    or one where the range is given. 64-bit integers beyond 2**53 are rounded to float64. Advances in bytes.
    Raises UserError for bins outside 1 … 65,536 and for a range that is empty or not finite.
    """
    check_bins(bins, value_range)
    if not is_wide(source.dtype):
        counts = pattern_counts_of(source, progress=progress, threads=threads)
        return histogram_of_counts(counts, bins, value_range)
    progress.start(size_bytes(source) * (1 if value_range else 2), "bytes")
    edges = bin_edges(bins, value_range or _finite_range(source, progress, threads))
    totals = np.zeros(bins, np.int64)
    blocks = (rows for _, rows in observed_blocks(source, progress))
    for counted in map_in_order(blocks, partial(_count_block, edges=edges), threads):
        totals += counted
    return Histogram(edges, totals)


def histogram_of_counts(counts: PatternCounts, bins: int, value_range: Range | None = None) -> Histogram:
    """The exact histogram from counts by value, at any number of bins and any range, without reading data again."""
    check_bins(bins, value_range)
    if value_range is None and counts.values.size:
        value_range = (float(counts.values[0]), float(counts.values[-1]))
    edges = bin_edges(bins, value_range)
    inside = (counts.values >= edges[0]) & (counts.values <= edges[-1])
    # The weights are summed as float64, which is exact below 2**53 values.
    sums = np.bincount(_search(counts.values[inside], edges), weights=counts.counts[inside], minlength=bins)
    return Histogram(edges, sums.astype(np.int64))


def check_bins(bins: int, value_range: Range | None) -> None:
    """Raises UserError when no histogram has so many bins or such a range."""
    if not 1 <= bins <= MAX_BINS:
        raise UserError(f"A histogram cannot have {bins:,} bins", remedy=f"Choose 1 to {MAX_BINS:,} bins.")
    if value_range is None:
        return
    low, high = value_range
    if not (math.isfinite(low) and math.isfinite(high) and low <= high):
        raise UserError(f"{low} to {high} is not a range", remedy="Give two finite numbers, the lower one first.")


def bin_edges(bins: int, value_range: Range | None) -> FloatArray:
    """Evenly spaced edges, float64 [bins + 1]; a range too narrow to be divided is widened around its middle."""
    low, high = value_range or (0.0, 1.0)
    scale = 1.0 if math.isfinite(high - low) else 0.5  # the distance of two finite numbers may not be finite
    widening = 0.0 if high > low else 0.5
    while True:
        edges: FloatArray = np.linspace((low - widening) * scale, (high + widening) * scale, bins + 1) / scale
        if (edges[1:] > edges[:-1]).all():
            return edges
        widening = max(2 * widening, 0.5, abs(low) * 2.0**-40, abs(high) * 2.0**-40)


def count_in_bins(values: FloatArray, edges: FloatArray) -> IntArray:
    """How many of the finite `values` [n] fall between each two edges: int64 [bins]."""
    bins = edges.size - 1
    low, high = float(edges[0]), float(edges[-1])
    if values.size == 0:
        return np.zeros(bins, np.int64)
    if values.min() < low or values.max() > high:
        values = values[(values >= low) & (values <= high)]
    per_bin = bins / (high - low)
    # Beyond this distance from an edge, in bins, rounding cannot have moved a value to the other side of it.
    doubt = 16 * np.finfo(np.float64).eps * (1 + bins + max(abs(low), abs(high)) * per_bin)
    if not (per_bin > 0 and doubt < 0.01):
        return np.bincount(_search(values, edges), minlength=bins)
    places = values - low
    places *= per_bin
    indices = places.astype(np.intp)
    counts = np.bincount(indices, minlength=bins + 1)
    places -= indices
    places -= 0.5
    np.abs(places, out=places)
    doubtful = np.flatnonzero(places > 0.5 - doubt)
    if doubtful.size:
        counts -= np.bincount(indices[doubtful], minlength=bins + 1)
        counts += np.bincount(_search(values[doubtful], edges), minlength=bins + 1)
    counts[bins - 1] += counts[bins]
    return counts[:bins]


def _search(values: FloatArray, edges: FloatArray) -> IntArray:
    places = np.searchsorted(edges, values, side="right") - 1
    return np.minimum(places, edges.size - 2)


def _count_block(rows: RawArray, edges: FloatArray) -> IntArray:
    counts = np.zeros(edges.size - 1, np.int64)
    for piece in flat_pieces(rows, PIECE):
        counts += count_in_bins(split_finite(piece).values.astype(np.float64), edges)
    return counts


def _finite_range(source: Source, progress: Progress, threads: int | None) -> Range | None:
    blocks = (rows for _, rows in observed_blocks(source, progress))
    extremes = [found for found in map_in_order(blocks, _block_range, threads) if found]
    if not extremes:
        return None
    return min(low for low, _ in extremes), max(high for _, high in extremes)


def _block_range(rows: RawArray) -> Range | None:
    values = split_finite(rows.reshape(-1)).values
    return (float(values.min()), float(values.max())) if values.size else None
