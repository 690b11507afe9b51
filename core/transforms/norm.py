"""Norms, with the form of their gain found by trial: w as in Llama, 1 + w as in Gemma, none at all."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.transforms.linear import bias_of, close


@dataclass(frozen=True)
class NormForm:
    """offset: the gain is `weight + offset`; None when the norm has no weight. centred: it subtracts the mean."""

    offset: float | None
    centred: bool


@dataclass(frozen=True)
class Norm:
    """A module that computes normalised(x)·gain + bias, changed in place."""

    module: nn.Module
    form: NormForm

    @property
    def gain(self) -> Tensor | None:
        """float32 [width], None where the norm has no weight."""
        if self.form.offset is None:
            return None
        return self.module.get_parameter("weight").data + self.form.offset

    def set_gain(self, gain: Tensor) -> None:
        """gain: float32 [width]. Raises ValueError for a norm without a weight."""
        if self.form.offset is None:
            raise ValueError("a norm without weight has no gain to set")
        self.module.get_parameter("weight").data.copy_(gain - self.form.offset)

    @property
    def bias(self) -> Tensor | None:
        """[width] in its dtype, None where the norm has none."""
        return bias_of(self.module)

    def nearest_gain(self, gain: Tensor) -> Tensor:
        """The nearest gain, float32 [width], whose weight takes 8 significant bits: no stored dtype rounds it."""
        offset = self.form.offset or 0.0
        return (gain - offset).to(torch.bfloat16).float() + offset


def as_norm(module: nn.Module, width: int, generator: torch.Generator) -> NormForm | None:
    """The form of a norm over `width` channels, None when the module is none.

    A norm does not care about its input's size, and its output is linear in the gain.
    """
    names = {name for name, _ in module.named_parameters()}
    if names - {"weight", "bias"} or any(True for _ in module.children()):
        return None
    if any(parameter.shape != (width,) for parameter in module.parameters()):
        return None
    device = next((tensor.device for tensor in module.parameters()), torch.device("cpu"))
    inputs = torch.randn(4, width, generator=generator).to(device)
    try:
        given = module(inputs)
        if not isinstance(given, Tensor) or given.shape != inputs.shape or close(given, inputs):
            return None
        if not close(module(3 * inputs), given, 1e-3):
            return None
        centred = close(module(inputs + 1), given, 1e-3)
        offset = _offset(module, inputs, given) if "weight" in names else None
    except (RuntimeError, TypeError, ValueError, IndexError, AttributeError):
        return None
    if "weight" in names and offset is None:
        return None
    return NormForm(offset, centred)


def _offset(module: nn.Module, inputs: Tensor, given: Tensor) -> float | None:
    weight, bias = module.get_parameter("weight"), bias_of(module)
    kept = weight.data.clone()
    shift = torch.zeros_like(kept) if bias is None else bias
    try:
        for offset in (0.0, 1.0):
            weight.data.fill_(1 - offset)
            unit = module(inputs) - shift
            if close(unit * (kept + offset) + shift, given):
                return offset
    finally:
        weight.data.copy_(kept)
    return None
