"""One layer's weight swapped in and out of a running model, in place."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from core.checkpoint.records import Layer
from core.errors import CheckpointError


def parameter_name(model: nn.Module, layer: Layer) -> str | None:
    """The model's name for the layer's tensor, None where the architecture keeps it fused or under another name.

    Checkpoints are saved with or without the name of the base model in front ("model.layers…", "layers…").
    """
    prefix = str(getattr(model, "base_model_prefix", "") or "")
    name = layer.tensor.name
    for candidate in (name, f"{prefix}.{name}", name.removeprefix(f"{prefix}.")):
        try:
            found = model.get_parameter(candidate)
        except AttributeError:
            continue
        if tuple(found.shape) == layer.shape:
            return candidate
    return None


def parameter_of(model: nn.Module, layer: Layer) -> nn.Parameter:
    """The parameter that holds the layer's weight. Raises CheckpointError where the architecture fuses it."""
    name = parameter_name(model, layer)
    if name is None:
        raise CheckpointError(
            f"'{layer.name}' (shape {list(layer.shape)}) cannot be changed alone: {type(model).__name__} keeps it "
            "fused with others",
            where=layer.name,
            remedy="Compress and evaluate the whole checkpoint instead.",
        )
    return model.get_parameter(name)


def replace_weight(model: nn.Module, layer: Layer, weight: Tensor) -> Tensor:
    """Give `layer` another weight, `layer.shape`, and hand back the one it had. Layers tied to it change with it."""
    parameter = parameter_of(model, layer)
    if weight.shape != parameter.shape:
        raise ValueError(f"'{layer.name}' has shape {list(parameter.shape)}, not {list(weight.shape)}")
    previous = parameter.data
    parameter.data = weight.to(device=previous.device, dtype=previous.dtype)
    return previous


@contextmanager
def replaced_weight(model: nn.Module, layer: Layer, weight: Tensor) -> Iterator[None]:
    """`replace_weight` for a section; the very tensor that was there comes back, also after an error."""
    with torch.no_grad():
        previous = replace_weight(model, layer, weight)
    try:
        yield
    finally:
        parameter_of(model, layer).data = previous
