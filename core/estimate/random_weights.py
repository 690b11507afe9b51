"""Random weights in place of a checkpoint's, for trying out how long it takes to work on them."""

from __future__ import annotations

import zlib
from collections.abc import Collection

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.weights.weights import OriginalWeights


class StandInWeights(OriginalWeights):
    """Shapes and dtypes of a checkpoint. The layers of the names in `drawn` hold random values, the same each time; all
    others zeros that share one place in memory. No weight is read."""

    def __init__(self, checkpoint: Checkpoint, drawn: Collection[str]) -> None:
        super().__init__(checkpoint)
        self._drawn = frozenset(drawn)

    def dense(self, layer: Layer) -> Tensor:
        if layer.name not in self._drawn:
            return torch.zeros(()).expand(layer.shape)
        values = torch.randn(layer.shape, generator=torch.Generator().manual_seed(zlib.crc32(layer.name.encode())))
        if len(layer.shape) > 1:
            values.mul_(max(1, layer.matrix_shape[1]) ** -0.5)
        else:
            values.mul_(0.1).add_(1.0)
        return values.to(torch_dtype(layer.dtype))
