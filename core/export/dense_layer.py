"""A layer that is written with the values it computes with, in its original dtype."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.export.export_plan import PlannedLayer

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights


@dataclass(frozen=True)
class DenseLayer(PlannedLayer):
    """copies: names under which the tensor is written too, since no config ties them."""

    copies: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        return (self.layer.tensor.name, *self.copies)

    def tensors(self) -> tuple[StoredTensor, ...]:
        return tuple(StoredTensor(name, self.layer.dtype, self.layer.shape) for name in self.names)

    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        from benchvise.core.export.dense_blocks import dense_blocks

        for name in self.names:
            yield from ((name, block) for block in dense_blocks(self.layer, weights))


def dense_layer(layer: Layer, head: str | None) -> DenseLayer:
    """The layer written dense. head: the name of the head that the config ties to the embedding, None for none."""
    copies = tuple(_tensor_name(layer, tied) for tied in layer.tied if tied != head)
    return DenseLayer(layer, None, copies)


def _tensor_name(layer: Layer, tied: str) -> str:
    return f"{tied}.weight" if layer.tensor.name == f"{layer.name}.weight" else tied
