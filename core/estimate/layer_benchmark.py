"""A layer that is treated on its own, tried out on its first rows."""

from __future__ import annotations

import time
from dataclasses import replace

from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.compressed_layer import compress_layer
from benchvise.core.compress.whole_matrix import streams
from benchvise.core.estimate.rates import LayerRates
from benchvise.core.job.streaming import one_thread_left, shared_fits
from benchvise.core.memory import PeakMemory, release_freed, rss_bytes
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.weights.weights import OriginalWeights, Weights
from benchvise.core.workspace.run_record import record_file
from benchvise.core.workspace.workspace import Workspace

PIECE_BYTES = 8 << 20
_ROWS_TOGETHER = 256
"""Rows are cut where no scheme groups them."""

_QUICK_SECONDS = 0.5


def piece_of(layer: Layer) -> Layer:
    """The layer, or its first rows where it is large and they lie together in its file."""
    whole = layer.nbytes <= PIECE_BYTES or layer.tensor.cut
    if whole or layer.transposed or len(layer.shape) != 2 or layer.tensor.strides is not None:
        return layer
    row_bytes = layer.nbytes // layer.shape[0]
    rows = min(layer.shape[0], max(1, PIECE_BYTES // row_bytes // _ROWS_TOGETHER) * _ROWS_TOGETHER)
    tensor = replace(layer.tensor, shape=(rows, layer.shape[1]), nbytes=rows * row_bytes)
    return replace(layer, tensor=tensor)


def benchmark_layer(row: PlanRow, weights: Weights, workspace: Workspace) -> LayerRates:
    """Carry out the row's treatment on a piece of its layer; the record goes to `workspace`.

    weights: those that surgery leaves; a layer that it cuts is read as a whole, a piece of another from its file.
    """
    piece = piece_of(row.layer)
    cut = replace(row, layer=piece, bytes_after=row.treatment.bytes_after(piece))
    reader = weights if piece.tensor.cut else OriginalWeights(weights.checkpoint)
    progress = NullProgress()
    release_freed()
    before = rss_bytes()
    with PeakMemory() as peak, one_thread_left():
        for number in range(2):
            started = time.perf_counter()
            shared = shared_fits((cut,), reader, progress).get(piece.name)
            path = record_file(workspace.layers, f"{number:02}{'0' * 62}")
            compress_layer(cut, reader, shared, path, progress, 0)
            seconds = time.perf_counter() - started
            if seconds > _QUICK_SECONDS:  # what is done for the first time in a process counts for little then
                break
    added = max(0, peak.bytes - before)
    larger = 1.0 if streams(row.treatment) else row.layer.nbytes / max(1, piece.nbytes)
    return LayerRates(seconds, int(added * larger), piece.nbytes)
