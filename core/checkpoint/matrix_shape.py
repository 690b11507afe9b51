"""A layer's weight in its own shape, and as the matrix [outputs, inputs] that schemes and solvers work on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Layer

if TYPE_CHECKING:
    from torch import Tensor


def as_matrix(layer: Layer, weight: Tensor) -> Tensor:
    """The weight [*layer.shape] of any dtype as [outputs, inputs] of the same dtype; a view where strides allow it."""
    return weight.T if layer.transposed and weight.dim() == 2 else weight.reshape(layer.matrix_shape)


def from_matrix(layer: Layer, matrix: Tensor) -> Tensor:
    """The matrix [outputs, inputs] of any dtype as [*layer.shape] of the same dtype: the inverse of `as_matrix`."""
    return matrix.T.contiguous() if layer.transposed and len(layer.shape) == 2 else matrix.reshape(layer.shape)
