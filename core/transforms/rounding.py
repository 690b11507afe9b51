"""How far nearest rounding moves what a linear layer gives, for weights and inputs scaled against each other."""

from __future__ import annotations

from functools import cached_property

import numpy as np
import torch
from torch import Tensor

from benchvise.core.activations.quantise import quantised, scale_of_range
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.scheme import Scheme
from benchvise.core.schemes.registry import arithmetic_of


class RoundedLayer:
    """A layer's weight float32 [outputs, inputs] under a scheme, with sampled inputs [tokens, inputs].

    greatest: max|x| of each input over all tokens, for input scales that are fixed beforehand.
    """

    def __init__(
        self, weight: Tensor, scheme: Scheme, activations: Activations | None, inputs: Tensor, greatest: Tensor
    ) -> None:
        self.weight, self.scheme, self.activations = weight, scheme, activations
        self.inputs, self.greatest = inputs, greatest

    @property
    def judged(self) -> bool:
        """Whether the scheme's rounding is known without the whole layer's pass: it has a grid."""
        return nearest(self.scheme, self.weight[:1]) is not None

    def error(self, factors: Tensor) -> float:
        """Σ (ŷ − y)² with the columns multiplied, and the inputs divided, by `factors` float32 [inputs].

        Raises TypeError for schemes without a grid.
        """
        scaled = self.weight * factors
        rounded = nearest(self.scheme, scaled)
        if rounded is None:
            raise TypeError(f"{self.scheme.key} has no grid")
        inputs = self.inputs / factors
        if self.activations is None:
            return _squares(inputs @ rounded.sub_(scaled).T)
        scale = None
        if self.activations.mode == "static":
            scale = scale_of_range(self.activations, (self.greatest / factors).amax().reshape(1))
        return _squares(quantised(self.activations, inputs, scale) @ rounded.T - self._given)

    @cached_property
    def _given(self) -> Tensor:
        return self.inputs @ self.weight.T


def nearest(scheme: Scheme, weight: Tensor) -> Tensor | None:
    """The weight float32 [rows, columns] rounded to the scheme's nearest values; None for schemes without a grid."""
    if isinstance(scheme, Keep):
        return weight.clone()
    try:
        grid = arithmetic_of(scheme).grid(scheme, weight.shape[0], weight.shape[1], torch.float32)
    except TypeError:
        return None
    grid.fit(0, weight)
    return grid.nearest(0, weight)


def weight_error(scheme: Scheme, weight: Tensor, rows: Tensor) -> float:
    """Σ (ŵ − w)² with each row multiplied by its factor, float32 [rows], while it is rounded; 0 without a grid."""
    rounded = nearest(scheme, weight * rows[:, None])
    return 0.0 if rounded is None else _squares(rounded / rows[:, None] - weight)


def _squares(values: Tensor) -> float:
    """Σ v², row by row, then in float64."""
    return float(np.sum(values.square().sum(1).double().cpu().numpy()))
