"""Layers whose inputs are quantised: put on a loaded model as hooks, so that it computes what a runtime will."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from transformers.pytorch_utils import Conv1D

from benchvise.core.activations.quantise import quantised
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.activations import Activations
from benchvise.core.progress import Progress
from benchvise.core.runtime.replace import parameter_name
from benchvise.core.weights.weights import Weights

MAX_NAMED = 4


@dataclass(frozen=True, eq=False)
class InputQuantiser:
    """A forward pre-hook: the first input [..., columns] of a module is rounded to 8 bits and back.

    scale: float32 [1] for static settings, None for dynamic ones.
    """

    settings: Activations
    scale: Tensor | None = None

    def __call__(self, module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        if not inputs:
            raise TypeError(f"{type(module).__name__} was called without a positional input")
        return (quantised(self.settings, inputs[0], self.scale), *inputs[1:])


def quantiser_of(weights: Weights, layer: Layer, device: torch.device) -> InputQuantiser | None:
    """What the layer's treatment does to its inputs; None when nothing. Raises CheckpointError for a lost scale."""
    settings = weights.treatment(layer).activations
    if settings is None:
        return None
    if settings.mode == "dynamic":
        return InputQuantiser(settings)
    scale = weights.input_scale(layer)
    if scale is None:
        raise CheckpointError(
            f"The fixed scale of the inputs of '{layer.name}' is missing",
            where=weights.source,
            remedy="Carry out the recipe once more, or export the run again.",
        )
    return InputQuantiser(settings, scale.to(device))


def quantise_inputs(model: nn.Module, weights: Weights, progress: Progress) -> None:
    """Put every layer's quantiser on its module of `model`, whose device it takes.

    Layers whose weight the architecture keeps fused with others have none; they are named in a note.
    """
    device = next(model.parameters()).device
    without: list[str] = []
    for layer in weights.checkpoint.layers:
        quantiser = quantiser_of(weights, layer, device)
        if quantiser is None:
            continue
        module = linear_of(model, layer)
        if module is None:
            without.append(layer.name)
        else:
            module.register_forward_pre_hook(quantiser)
    if without:
        named = ", ".join(without[:MAX_NAMED])
        more = f" and {len(without) - MAX_NAMED} more" if len(without) > MAX_NAMED else ""
        progress.note(f"Inputs are not quantised, for want of a linear module of their own: {named}{more}")


def linear_of(model: nn.Module, layer: Layer) -> nn.Module | None:
    """The linear module that multiplies by the layer's weight; None where there is no such module."""
    name = parameter_name(model, layer)
    if name is None or not name.endswith(".weight"):
        return None
    module = model.get_submodule(name.removesuffix(".weight"))
    return module if isinstance(module, nn.Linear | Conv1D) else None


@contextmanager
def quantised_input(module: nn.Module, quantiser: InputQuantiser | None) -> Iterator[None]:
    """The quantiser on `module` for a section; None changes nothing."""
    if quantiser is None:
        yield
        return
    handle = module.register_forward_pre_hook(quantiser)
    try:
        yield
    finally:
        handle.remove()
