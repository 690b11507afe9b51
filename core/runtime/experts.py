"""Mixtures of experts: which rows of a fused parameter are one expert's matrix of the checkpoint.

Checkpoints keep one matrix per expert ("experts.3.gate_proj"); running models keep those of all experts in one
parameter [experts, outputs, inputs], gate above up.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.runtime.checkpoint_names import names_of


@dataclass(frozen=True)
class ExpertPlace:
    """Rows `start` to `stop` of `expert` in a parameter [experts, outputs, inputs] that holds all experts of a module.

    module, parameter: "model.layers.0.mlp.experts" and "gate_up_proj".
    """

    module: str
    parameter: str
    expert: int
    start: int
    stop: int

    @property
    def name(self) -> str:
        """The model's name for the fused parameter."""
        return f"{self.module}.{self.parameter}"


def expert_place(model: nn.Module, layer: Layer) -> ExpertPlace | None:
    """Where the model keeps the layer among its experts; None for layers that are no part of a fused parameter."""
    found = names_of(model).of(layer.tensor.name)
    if found is None or found.place is None or len(layer.shape) != 2:
        return None
    rows, columns = layer.shape
    for name in spellings(model, found.name):
        try:
            parameter = model.get_parameter(name)
        except AttributeError:
            continue
        place = found.place
        if tuple(parameter.shape[1:]) == (place.parts * rows, columns) and place.item < parameter.shape[0]:
            module, _, leaf = name.rpartition(".")
            return ExpertPlace(module, leaf, place.item, place.part * rows, (place.part + 1) * rows)
    return None


def expert_places(model: nn.Module, layers: Iterable[Layer]) -> dict[str, ExpertPlace]:
    """By the layers' names, the places of those that are part of a fused parameter."""
    return {layer.name: place for layer in layers if (place := expert_place(model, layer))}


def read_expert(model: nn.Module, place: ExpertPlace) -> Tensor:
    """The expert's matrix [outputs, inputs] in the model's dtype: a view, which changes with the model."""
    return model.get_parameter(place.name).data[place.expert, place.start : place.stop]


def write_expert(model: nn.Module, place: ExpertPlace, weight: Tensor) -> None:
    """Put `weight` [outputs, inputs] in the expert's place, cast to the dtype there.

    Raises ValueError when its shape is another than the place's.
    """
    target = read_expert(model, place)
    if weight.shape != target.shape:
        raise ValueError(f"'{place.name}' keeps {list(target.shape)} for the expert, not {list(weight.shape)}")
    with torch.no_grad():
        target.copy_(weight)


@contextmanager
def experts_one_by_one(model: nn.Module) -> Iterator[None]:
    """Compute experts by plain products meanwhile: grouped ones refuse weights that share one place in memory."""
    configs = {id(module.config): module.config for module in model.modules() if hasattr(module, "has_gate")}
    before = [config._experts_implementation for config in configs.values()]  # type: ignore[union-attr]
    try:
        for config in configs.values():
            config._experts_implementation = "eager"  # type: ignore[union-attr]
        yield
    finally:
        for config, implementation in zip(configs.values(), before, strict=True):
            config._experts_implementation = implementation  # type: ignore[union-attr]


def spellings(model: nn.Module, name: str) -> tuple[str, ...]:
    """The name as it is, and with and without the base model in front ("model.layers…", "layers…")."""
    prefix = str(getattr(model, "base_model_prefix", "") or "")
    return name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")
