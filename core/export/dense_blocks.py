"""The dense values of a layer in its original dtype, block by block."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.weights.weights import Weights

BLOCK_BYTES = 32 << 20


def dense_blocks(layer: Layer, weights: Weights) -> Iterator[Tensor]:
    """The values that the layer computes with, in its dtype: blocks of rows in order, together [*layer.shape].

    Kept layers are read from `weights` too, since a transform may have changed them.
    """
    if layer.transposed:  # its rows lie across the stored order
        yield weights.dense(layer).to(torch_dtype(layer.dtype))
    else:
        for _, rows in weights.dense_blocks(layer, BLOCK_BYTES):
            yield rows.to(torch_dtype(layer.dtype))
