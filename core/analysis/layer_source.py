"""Layers as sources of raw values, wherever their weights come from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.analysis.source import BLOCK_BYTES, ArraySource, EntrySource, Source
from benchvise.core.checkpoint.matrix_shape import matrix_entry
from benchvise.core.checkpoint.read import RawArray, raw_dtype
from benchvise.core.checkpoint.records import Layer
from benchvise.core.weights.weights import Weights


@dataclass(frozen=True)
class WeightsSource:
    """A layer as [outputs, inputs] in its own dtype, as it computes."""

    weights: Weights
    layer: Layer

    @property
    def shape(self) -> tuple[int, ...]:
        return self.layer.matrix_shape

    @property
    def dtype(self) -> str:
        return self.layer.dtype

    def blocks(self) -> Iterator[tuple[int, RawArray]]:
        """Read or decode the rows. Raises CheckpointError when a file no longer holds what it did."""
        for start, rows in self.weights.dense_blocks(self.layer, BLOCK_BYTES):
            yield start, _raw(rows, self.dtype)


def layer_source(weights: Weights, layer: Layer) -> Source:
    """The layer as [outputs, inputs], streamed from its file where it lies there as it computes."""
    in_file = weights.treatment(layer).keeps and not weights.changed(layer) and not layer.tensor.cut
    entry = matrix_entry(layer) if in_file else None
    return WeightsSource(weights, layer) if entry is None else EntrySource(entry)


def tensor_source(values: Tensor, dtype: str) -> Source:
    """A tensor in memory, of any shape and of the dtype that `dtype` names, as a source of raw values."""
    return ArraySource(_raw(values, dtype), dtype)


def _raw(values: Tensor, dtype: str) -> RawArray:
    raw = values.contiguous()
    if values.dtype == torch.bool:
        return raw.numpy()
    return raw.reshape(-1).view(torch.uint8).numpy().view(raw_dtype(dtype)).reshape(values.shape)
