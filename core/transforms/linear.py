"""Linear layers as matrices [outputs, inputs], whichever way round the module keeps its weight."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

_TOLERANCE = 1e-4


@dataclass(frozen=True)
class Linear:
    """A module that computes x·Wᵀ + b, changed in place.

    transposed: the module keeps Wᵀ, as GPT-2's `Conv1D` does.
    """

    module: nn.Module
    transposed: bool

    @property
    def matrix(self) -> Tensor:
        """The weight as [outputs, inputs] in its dtype: a view."""
        weight = self.module.get_parameter("weight").data
        return weight.T if self.transposed else weight

    @property
    def bias(self) -> Tensor | None:
        """[outputs] in its dtype: a view."""
        return bias_of(self.module)

    def scale_inputs(self, factors: Tensor) -> None:
        """Multiply each column by its factor, float32 [inputs]."""
        self.matrix.mul_(factors)

    def scale_outputs(self, rows: Tensor, factors: Tensor) -> None:
        """Multiply the rows int64 [n] and their biases by their factors, float32 [n]."""
        matrix, bias = self.matrix, self.bias
        matrix[rows] = matrix[rows] * factors[:, None]
        if bias is not None:
            bias[rows] = bias[rows] * factors

    def rotate_inputs(self, turn: Callable[[Tensor], Tensor]) -> None:
        """Turn each row as a vector of inputs. turn: [n, inputs] to the same shape and dtype."""
        self.matrix.copy_(turn(self.matrix))

    def rotate_outputs(self, rows: Tensor, turn: Callable[[Tensor], Tensor]) -> None:
        """Turn what the rows int64 [n] give, as one vector of n outputs."""
        matrix, bias = self.matrix, self.bias
        matrix[rows] = turn(matrix[rows].T.contiguous()).T
        if bias is not None:
            bias[rows] = turn(bias[rows])


def bias_of(module: nn.Module) -> Tensor | None:
    """The module's bias [outputs] in its dtype, None where it has none."""
    bias = getattr(module, "bias", None)
    return bias.data if isinstance(bias, nn.Parameter) else None


def as_linear(module: nn.Module, generator: torch.Generator) -> Linear | None:
    """The module as a linear layer, None when it is none. Tried on random inputs, not read from its class's name."""
    names = {name for name, _ in module.named_parameters()}
    weight = getattr(module, "weight", None)
    if "weight" not in names or names - {"weight", "bias"} or not isinstance(weight, nn.Parameter) or weight.dim() != 2:
        return None
    if isinstance(module, nn.Embedding):
        return None
    for transposed in (False, True):
        linear = Linear(module, transposed)
        inputs = torch.randn(3, linear.matrix.shape[1], generator=generator).to(weight.device)
        expected = inputs @ linear.matrix.T
        bias = linear.bias
        if bias is not None:
            if bias.shape != expected.shape[1:]:
                continue
            expected = expected + bias
        try:
            given = module(inputs)
        except (RuntimeError, TypeError, ValueError, IndexError):
            continue
        if isinstance(given, Tensor) and close(given, expected):
            return linear
    return None


def close(given: Tensor, expected: Tensor, tolerance: float = _TOLERANCE) -> bool:
    """Whether tensors of the same shape differ by no more than float32 rounding, relative to the second's size."""
    return given.shape == expected.shape and relative_error(given, expected) <= tolerance


def relative_error(given: Tensor, expected: Tensor) -> float:
    """‖given − expected‖ / ‖expected‖ of any shape and dtype; infinite where one of them is not finite."""
    size = float(torch.linalg.vector_norm(expected.double()))
    error = float(torch.linalg.vector_norm(given.double() - expected.double())) / max(size, 1e-30)
    return float("inf") if math.isnan(error) else error
