"""The values of layers as they lie in their files, without a checkpoint."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.weights.weights import row_ranges


class FileReader:
    def dense(self, layer: Layer) -> Tensor:
        return load_tensor(layer.tensor)

    def dense_blocks(self, layer: Layer, block_bytes: int) -> Iterator[tuple[int, Tensor]]:
        whole = as_matrix(layer, self.dense(layer))
        for start, stop in row_ranges(layer, block_bytes):
            yield start, whole[start:stop].contiguous()
