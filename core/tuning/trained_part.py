"""One layer of a network while a tuning step trains it."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.recipe.recipe import Treatment


@dataclass
class TrainedPart(ABC):
    """parameter: the name of its weight in the model. change: what is trained, float32, zero at first, by name."""

    layer: Layer
    treatment: Treatment
    parameter: str
    change: dict[str, Tensor]

    @property
    @abstractmethod
    def decodes(self) -> bool:
        """Whether the weight is made anew from what is trained at every step, and is as large as the layer."""

    @abstractmethod
    def weight(self) -> Tensor:
        """The layer's weight, float32 [*layer.shape], with gradients to `change`."""

    @abstractmethod
    def result(self) -> dict[str, Tensor]:
        """The layer's stored tensors after training, as `Scheme.storage` says, or {"weight": …} when it is kept."""
