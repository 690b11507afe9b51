"""Weights of a checkpoint that surgery leaves: slices of tensors of the one before."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.surgery.derived import Derived, Operated
from benchvise.core.weights.weights import BLOCK_BYTES, OriginalWeights, Weights, row_ranges


class CutWeights:
    """The layers of `step.checkpoint`, read from those of `step.source` through `before`.

    A layer that was cut is in memory as a whole while it is read. Raises ValueError for cuts without indices.
    """

    def __init__(self, before: Weights, step: Derived) -> None:
        self.source = before.source
        self.checkpoint = step.checkpoint
        self._before = before
        self._cuts = step.cuts
        self._origins = {
            layer.name: step.source.layers[origin]
            for layer, origin in zip(step.checkpoint.layers, step.origins, strict=True)
        }

    @property
    def stored_bytes(self) -> int:
        return self.checkpoint.nbytes

    def treatment(self, layer: Layer) -> Treatment:  # noqa: ARG002 - surgery treats no layer
        return KEEP

    def changed(self, layer: Layer) -> bool:  # noqa: ARG002 - what is left has the values it had
        return False

    def stored(self, layer: Layer) -> dict[str, Tensor]:
        return {"weight": self.dense(layer)}

    def input_scale(self, layer: Layer) -> Tensor | None:  # noqa: ARG002 - inputs are as they are
        return None

    def dense(self, layer: Layer) -> Tensor:
        values = self._before.dense(self._origins[layer.name])
        for cut in self._cuts.get(layer.name, ()):
            if cut.indices is None:
                raise ValueError(f"what stays of '{layer.name}' is not known yet, only how much")
            values = values.index_select(cut.dimension, torch.tensor(cut.indices, dtype=torch.int64))
        return values

    def dense_blocks(self, layer: Layer, block_bytes: int = BLOCK_BYTES) -> Iterator[tuple[int, Tensor]]:
        if layer.name not in self._cuts:
            yield from self._before.dense_blocks(self._origins[layer.name], block_bytes)
            return
        whole = as_matrix(layer, self.dense(layer))
        for start, stop in row_ranges(layer, block_bytes):
            yield start, whole[start:stop].contiguous()


def weights_of(operated: Operated) -> Weights:
    """The weights that surgery leaves; those of the checkpoint itself where there is none."""
    if not any(step.cuts for step in operated.steps):  # what only moved lies in the file as it did
        return OriginalWeights(operated.checkpoint)
    weights: Weights = OriginalWeights(operated.source)
    for step in operated.steps:
        weights = CutWeights(weights, step)
    return weights
