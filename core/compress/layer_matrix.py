"""A layer of a checkpoint as a matrix that streams from its file."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.checkpoint.tensors import load_rows, load_tensor, torch_dtype
from benchvise.core.compress.ahead import ahead
from benchvise.core.errors import CheckpointError
from benchvise.core.kernels.quantise import is_finite
from benchvise.core.progress import Progress

BLOCK_BYTES = 16 << 20
"""Of the file, per block. Fixed: blocks decide the order of sums, and results must not depend on the machine."""

SEARCHED_BLOCK_BYTES = 1 << 20
"""The same where each block is searched: that takes a hundred times as long, and a cancel is heard between blocks."""


@dataclass(frozen=True)
class LayerMatrix:
    """The layer's weight as [outputs, inputs], in blocks of about `BLOCK_BYTES` (smaller when `searched`), on `device`.

    Every block is checked: raises CheckpointError naming the layer when a weight is NaN, infinite, or beyond what
    float32, in which schemes compute, can hold.
    advances: whether reading a block advances `progress`, in bytes.
    """

    layer: Layer
    progress: Progress
    device: str = "cpu"
    advances: bool = False
    searched: bool = False

    @property
    def rows(self) -> int:
        return self.layer.matrix_shape[0]

    @property
    def columns(self) -> int:
        return self.layer.matrix_shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return torch_dtype(self.layer.dtype)

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        for start, block in ahead(self._read()):
            self.progress.check_cancelled()
            refuse_not_finite(self.layer, start, block)
            yield start, block.to(self.device)
            if self.advances:
                self.progress.advance(block.nbytes)

    def _read(self) -> Iterator[tuple[int, Tensor]]:
        step = block_rows(self.layer, min(BLOCK_BYTES, SEARCHED_BLOCK_BYTES) if self.searched else BLOCK_BYTES)
        entry = matrix_entry(self.layer)
        whole = as_matrix(self.layer, load_tensor(self.layer.tensor)) if entry is None else None
        for start in range(0, self.rows, step):
            stop = min(start + step, self.rows)
            if entry is not None:
                yield start, load_rows(entry, start, stop)
            elif whole is not None:
                yield start, whole[start:stop]


def block_rows(layer: Layer, block_bytes: int) -> int:
    """Rows of the layer's matrix in one block."""
    rows, columns = layer.matrix_shape
    row_bytes = max(1, layer.dense_nbytes // max(1, rows))
    return max(1, block_bytes // row_bytes) if columns else max(1, rows)


def matrix_entry(layer: Layer) -> TensorEntry | None:
    """The tensor seen as the layer's matrix, without copying; None when its strides do not allow that."""
    entry, (rows, columns) = layer.tensor, layer.matrix_shape
    if layer.transposed and len(layer.shape) == 2:
        if entry.encoding is not None:
            return None
        along, across = entry.strides or (layer.shape[1], 1)
        return replace(entry, shape=(rows, columns), strides=(across, along))
    if entry.strides is None or entry.shape == (rows, columns):
        return replace(entry, shape=(rows, columns))
    return None


def refuse_not_finite(layer: Layer, start: int, block: Tensor) -> None:
    """Check a block [rows, columns] of any floating dtype, which starts at row `start` of the layer.

    Raises CheckpointError naming the layer when a value is not finite in float32.
    """
    if is_finite(block.float() if block.dtype == torch.float64 else block):
        return
    bad = ~block.float().isfinite()
    row = int(bad.any(1).nonzero()[0])
    value = float(block[row][bad[row]][0])
    found = f"holds {value:.3g}, too large for float32" if math.isfinite(value) else f"holds the weight {value}"
    raise CheckpointError(
        f"The layer '{layer.name}' {found} (row {start + row}), which no scheme can represent",
        where=f"{layer.tensor.file}, {layer.tensor.name}",
        remedy=f"Keep it as it is: add '{layer.name}' to the rule's 'ignore', or repair the checkpoint.",
    )
