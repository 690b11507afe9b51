"""One layer's weight swapped in and out of a running model, in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.checkpoint_names import names_of
from benchvise.core.runtime.experts import expert_place, read_expert, spellings, write_expert


def parameter_name(model: nn.Module, layer: Layer) -> str | None:
    """The model's name for the parameter that is the layer's tensor, None where it is fused with others or turned."""
    found = names_of(model).of(layer.tensor.name)
    if found is None or found.place is not None:
        return None
    for candidate in (*spellings(model, found.name), *spellings(model, layer.tensor.name)):
        try:
            parameter = model.get_parameter(candidate)
        except AttributeError:
            continue
        if tuple(parameter.shape) == layer.shape:
            return candidate
    return None


def holder_name(model: nn.Module, layer: Layer) -> str | None:
    """The model's name for the parameter that is the layer's tensor or holds it among others of its kind."""
    place = expert_place(model, layer)
    return place.name if place is not None else parameter_name(model, layer)


def is_mixed(model: nn.Module, layer: Layer) -> bool:
    """Whether loading splits or turns the layer's tensor, or mixes it with others, in a way that is not followed here.

    Not so for tensors that are no parameters, such as a router's bias, nor for those that the model does not use.
    """
    return names_of(model).of(layer.tensor.name) is None


def parameter_of(model: nn.Module, layer: Layer) -> nn.Parameter:
    """The parameter that is the layer's weight. Raises CheckpointError where the architecture fuses it."""
    name = parameter_name(model, layer)
    if name is None:
        raise _fused(model, layer)
    return model.get_parameter(name)


def read_weight(model: nn.Module, layer: Layer) -> Tensor:
    """The layer's weight [*layer.shape] in the model's dtype; stays what it is when the layer gets another."""
    place = expert_place(model, layer)
    return parameter_of(model, layer).data if place is None else read_expert(model, place).clone()


def replace_weight(model: nn.Module, layer: Layer, weight: Tensor) -> Tensor:
    """Give `layer` another weight and hand back the one it had. Layers tied to it change with it.

    weight: [*layer.shape], cast to the model's dtype, in which the other is. Raises ValueError when the shape is
    another.
    """
    if weight.shape != layer.shape:
        raise ValueError(f"'{layer.name}' has shape {list(layer.shape)}, not {list(weight.shape)}")
    place = expert_place(model, layer)
    if place is not None:
        previous = read_weight(model, layer)
        write_expert(model, place, weight)
        return previous
    parameter = parameter_of(model, layer)
    previous = parameter.data
    parameter.data = weight.to(device=previous.device, dtype=previous.dtype)
    return previous


@contextmanager
def replaced_weight(model: nn.Module, layer: Layer, weight: Tensor) -> Iterator[None]:
    """`replace_weight` for a section; the weight that was there comes back bit for bit, also after an error.

    weight: [*layer.shape], cast to the model's dtype.
    """
    with torch.no_grad():
        previous = replace_weight(model, layer, weight)
    try:
        yield
    finally:
        replace_weight(model, layer, previous)


def _fused(model: nn.Module, layer: Layer) -> CheckpointError:
    return CheckpointError(
        f"'{layer.name}' (shape {list(layer.shape)}) cannot be changed alone: {type(model).__name__} keeps it "
        "fused with others",
        where=layer.name,
        remedy="Compress and evaluate the whole checkpoint instead.",
    )
