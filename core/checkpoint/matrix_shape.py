"""A layer's weight in its own shape, and as the matrix [outputs, inputs] that schemes and solvers work on."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Layer, TensorEntry

if TYPE_CHECKING:
    from torch import Tensor


def as_matrix(layer: Layer, weight: Tensor) -> Tensor:
    """The weight [*layer.shape] of any dtype as [outputs, inputs] of the same dtype; a view where strides allow it."""
    return weight.T if layer.transposed and weight.dim() == 2 else weight.reshape(layer.matrix_shape)


def from_matrix(layer: Layer, matrix: Tensor) -> Tensor:
    """The matrix [outputs, inputs] of any dtype as [*layer.shape] of the same dtype: the inverse of `as_matrix`."""
    return matrix.T.contiguous() if layer.transposed and len(layer.shape) == 2 else matrix.reshape(layer.shape)


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
