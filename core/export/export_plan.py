"""What an export will write, known before anything is written: every tensor with its dtype and shape, and all that
differs from the run."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchvise.core.checkpoint.records import Checkpoint, Layer, StoredTensor
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.network_modules import NetworkModules
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from torch import Tensor

    from benchvise.core.weights.weights import Weights

TreatmentOf = Callable[[Layer], Treatment]


@dataclass(frozen=True)
class PlannedLayer(ABC):
    """One layer as it will be written. layout: how its codes are stored, None when it is written dense."""

    layer: Layer
    layout: PackedLayout | None

    @abstractmethod
    def tensors(self) -> tuple[StoredTensor, ...]:
        """The tensors that are written for the layer, with their full names."""

    @abstractmethod
    def blocks(self, weights: Weights) -> Iterator[tuple[str, Tensor]]:
        """The values of `tensors()` by full name, in contiguous blocks of rows, each of the declared dtype.

        Raises CheckpointError when the weights cannot be read.
        """


@dataclass(frozen=True)
class ExportPlan:
    """Every layer as it will be written.

    target: the key of an export target. refusal: why no runtime would load the result, "" when one does.
    modules: what the network's loader makes of the layers, None where that is not known.
    """

    target: str
    checkpoint: Checkpoint
    layers: tuple[PlannedLayer, ...]
    plan_warnings: tuple[PlanWarning, ...] = ()
    modules: NetworkModules | None = None
    refusal: str = ""

    def tensors(self) -> list[StoredTensor]:
        return [tensor for planned in self.layers for tensor in planned.tensors()]

    def packed(self) -> list[tuple[Layer, PackedLayout]]:
        """The layers that are not written dense, each with its layout."""
        return [(planned.layer, planned.layout) for planned in self.layers if planned.layout is not None]

    def path_of(self, layer: Layer) -> str:
        """The path of the layer's module in the network."""
        return self.modules.paths.get(layer.name, layer.name) if self.modules is not None else layer.name

    @property
    def nbytes(self) -> int:
        """Exact bytes of all tensors."""
        return sum(tensor.nbytes for tensor in self.tensors())


def is_expert_matrix(layer: Layer) -> bool:
    """Whether the layer is one expert's matrix; loaders stack those of a block into one tensor."""
    return layer.routed_expert and layer.kind == "linear" and len(layer.shape) == 2
