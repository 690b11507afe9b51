"""A weight, or the error made in it, as a picture small enough for a screen in which outliers stay visible."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchvise.core.analysis.decoding import IntArray, check_real, decode
from benchvise.core.analysis.source import Source, map_in_order, matrix_shape, observed_blocks, size_bytes
from benchvise.core.checkpoint.read import RawArray
from benchvise.core.errors import CheckpointError
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import Floats32, HeatMap

_Rows = tuple[RawArray, ...]


@dataclass(frozen=True)
class _Extremes:
    """Largest and smallest value in the cells of some rows of cells, beginning with cell row `first`."""

    first: int
    largest: Floats32
    smallest: Floats32


def heat_map_of(
    source: Source, max_rows: int = 512, max_columns: int = 512, *, progress: Progress, threads: int | None = None
) -> HeatMap:
    """A tensor of any real dtype and shape, seen as [dim 0, all the rest], in at most `max_rows` × `max_columns` cells.

    One pass; advances in bytes. float64 values beyond the range of float32 become infinite.
    """
    check_real(source.dtype)
    progress.start(size_bytes(source), "bytes")
    blocks = ((start, (rows,)) for start, rows in observed_blocks(source, progress))
    return _mapped(matrix_shape(source), blocks, (source.dtype,), (max_rows, max_columns), threads)


def error_map_of(
    before: Source,
    after: Source,
    max_rows: int = 512,
    max_columns: int = 512,
    *,
    progress: Progress,
    threads: int | None = None,
) -> HeatMap:
    """The error ŵ − w (`after` minus `before`) as `heat_map_of` shows a weight; the dtypes may differ.

    Raises CheckpointError unless both have the same shape.
    """
    if before.shape != after.shape or matrix_shape(before) != matrix_shape(after):
        raise CheckpointError(
            f"Before has shape {list(before.shape)} ({before.dtype}), after {list(after.shape)} ({after.dtype})",
            remedy="Compare tensors of the same shape.",
        )
    dtypes = (before.dtype, after.dtype)
    for dtype in dtypes:
        check_real(dtype)
    progress.start(size_bytes(before) + size_bytes(after), "bytes")
    blocks = paired_blocks(observed_blocks(before, progress), observed_blocks(after, progress))
    return _mapped(matrix_shape(before), blocks, dtypes, (max_rows, max_columns), threads)


def paired_blocks(
    first: Iterator[tuple[int, RawArray]], second: Iterator[tuple[int, RawArray]]
) -> Iterator[tuple[int, tuple[RawArray, RawArray]]]:
    """Two sequences of blocks of the same rows, cut where either of them is cut."""
    start = 0
    left: RawArray | None = None
    right: RawArray | None = None
    while True:
        left = left if left is not None and len(left) else next(first, (0, None))[1]
        right = right if right is not None and len(right) else next(second, (0, None))[1]
        if left is None or right is None:
            return
        count = min(len(left), len(right))
        yield start, (left[:count], right[:count])
        start, left, right = start + count, left[count:], right[count:]


def _mapped(
    shape: tuple[int, int],
    blocks: Iterable[tuple[int, _Rows]],
    dtypes: tuple[str, ...],
    cells: tuple[int, int],
    threads: int | None,
) -> HeatMap:
    row_edges, column_edges = (_cell_edges(size, most) for size, most in zip(shape, cells, strict=True))
    largest = np.full((row_edges.size - 1, column_edges.size - 1), np.nan, np.float32)
    smallest = largest.copy()
    task = partial(_reduce_block, dtypes=dtypes, row_edges=row_edges, column_edges=column_edges)
    for found in map_in_order(blocks, task, threads):
        covered = slice(found.first, found.first + len(found.largest))
        np.fmax(largest[covered], found.largest, out=largest[covered])
        np.fmin(smallest[covered], found.smallest, out=smallest[covered])
    values = np.where(np.abs(smallest) > np.abs(largest), smallest, largest)
    magnitudes = np.abs(values[np.isfinite(values)])
    limit = float(np.quantile(magnitudes, 0.999)) if magnitudes.size else 0.0
    return HeatMap(values, row_edges, column_edges, limit, float(magnitudes.max(initial=0.0)))


def _cell_edges(size: int, most: int) -> IntArray:
    """Edges of at most `most` cells of nearly equal size over `size` rows or columns."""
    cells = max(1, min(size, most)) if size else 0
    return np.arange(cells + 1, dtype=np.int64) * size // max(1, cells)


def _reduce_block(
    block: tuple[int, _Rows], dtypes: tuple[str, ...], row_edges: IntArray, column_edges: IntArray
) -> _Extremes:
    """Reduce some rows to rows of cells: over rows first, because that is where a block is contiguous."""
    start, rows = block
    stop = start + len(rows[0])
    first = int(np.searchsorted(row_edges, start, side="right")) - 1
    last = int(np.searchsorted(row_edges, stop, side="left"))
    largest = np.empty((last - first, int(column_edges[-1])), np.float32)
    smallest = np.empty_like(largest)
    for cell in range(first, last):
        inside = slice(max(int(row_edges[cell]) - start, 0), int(row_edges[cell + 1]) - start)
        values = _shown([part[inside] for part in rows], dtypes)
        np.fmax.reduce(values, axis=0, out=largest[cell - first])
        np.fmin.reduce(values, axis=0, out=smallest[cell - first])
    columns = column_edges[:-1]
    return _Extremes(first, np.fmax.reduceat(largest, columns, axis=1), np.fmin.reduceat(smallest, columns, axis=1))


def _shown(rows: list[RawArray], dtypes: tuple[str, ...]) -> Floats32:
    """What the map is of: the values of the only source, or those of the second minus those of the first."""
    matrices = [decode(part, dtype).reshape(len(part), -1) for part, dtype in zip(rows, dtypes, strict=True)]
    with np.errstate(over="ignore", invalid="ignore"):
        values = matrices[0] if len(matrices) == 1 else matrices[1] - matrices[0]
        return values.astype(np.float32, copy=False)
