"""A layer as a matrix that streams from wherever its weights come from."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.compress.ahead import ahead
from benchvise.core.errors import CheckpointError
from benchvise.core.kernels.quantise import is_finite
from benchvise.core.progress import Progress

BLOCK_BYTES = 16 << 20
"""Of the file, per block. Fixed: blocks decide the order of sums, and results must not depend on the machine."""

SEARCHED_BLOCK_BYTES = 1 << 20
"""The same where each block is searched: that takes a hundred times as long, and a cancel is heard between blocks."""


class LayerReader(Protocol):
    """What gives the values of layers: a file, or another checkpoint that surgery cuts. `Weights` is one."""

    def dense(self, layer: Layer) -> Tensor:
        """The weight, [*layer.shape] in the layer's dtype."""

    def dense_blocks(self, layer: Layer, block_bytes: int) -> Iterator[tuple[int, Tensor]]:
        """(first row, rows) of the weight as a matrix [rows, columns], in order, in the layer's dtype.

        Blocks are contiguous and of about `block_bytes`.
        """


@dataclass(frozen=True)
class LayerMatrix:
    """The layer's weight as [outputs, inputs], in blocks of about `BLOCK_BYTES` (smaller when `searched`), on `device`.

    Every block is checked: raises CheckpointError naming the layer when a weight is NaN, infinite, or beyond what
    float32, in which schemes compute, can hold.
    advances: whether reading a block advances `progress`, in bytes.
    """

    layer: Layer
    reader: LayerReader
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
        block_bytes = min(BLOCK_BYTES, SEARCHED_BLOCK_BYTES) if self.searched else BLOCK_BYTES
        for start, block in ahead(self.reader.dense_blocks(self.layer, block_bytes)):
            self.progress.check_cancelled()
            refuse_not_finite(self.layer, start, block)
            yield start, block.to(self.device)
            if self.advances:
                self.progress.advance(block.nbytes)


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
