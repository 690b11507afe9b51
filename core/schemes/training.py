"""Stored matrices as things of which everything may be trained end to end: codes, values, scales, books."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor

from benchvise.core.schemes.learning import Learnable, as_stored

TrainedValues = Mapping[str, Tensor]

_MIN_UNIT = 1e-3
"""Of values that are zero throughout, as fresh biases are."""


@dataclass(frozen=True)
class Trainable:
    """A stored matrix under training.

    first:  where training begins, float32 of any shape, by name.
    unit:   what a change of one means, by the same names, float32 that broadcasts over the values.
    fine:   names of scales, zero points and books, which have a rate of their own.
    loose:  names of values that are no codes, where a change of one is as large as the values are.
    weight: such values → float32 [rows, columns], differentiable in them; gradients pass rounding straight through.
    stored: such values → the tensors of the scheme.
    """

    first: dict[str, Tensor]
    unit: dict[str, Tensor]
    weight: Callable[[TrainedValues], Tensor]
    stored: Callable[[TrainedValues], dict[str, Tensor]]
    fine: frozenset[str] = field(default_factory=frozenset)
    loose: frozenset[str] = field(default_factory=frozenset)


def straight(values: Tensor, snapped: Tensor) -> Tensor:
    """`snapped`, as if it were `values`: both float32 of the same shape; gradients go to `values`."""
    return values + (snapped - values).detach()


def mean_size(values: Tensor) -> Tensor:
    """The mean magnitude along the last dimension, [..., 1] of values [..., n], both float32; never zero."""
    return values.abs().mean(-1, keepdim=True).clamp_(min=_MIN_UNIT)


def of_learnable(learnable: Learnable) -> Trainable:
    """Offsets in steps of the grid, and the logarithms of what scales are multiplied with."""
    one = torch.ones(())
    return Trainable(
        {"offsets": learnable.offsets, "scales": learnable.scales},
        {"offsets": one, "scales": one},
        lambda values: learnable.weight(values["offsets"], values["scales"]),
        lambda values: learnable.stored(values["offsets"], values["scales"]),
        fine=frozenset({"scales"}),
    )


def of_values(
    first: dict[str, Tensor], weight: Callable[[TrainedValues], Tensor], stored: Mapping[str, Tensor]
) -> Trainable:
    """Numbers that are stored as they are, each in its dtype in `stored`: values between zeros, factors.

    first: float32, by the names of stored tensors. weight: such values → float32 [rows, columns].
    """
    dtypes = {name: stored[name].dtype for name in first}

    def rounded(values: TrainedValues) -> dict[str, Tensor]:
        return {name: as_stored(values[name], dtype) for name, dtype in dtypes.items()}

    return Trainable(
        first,
        {name: mean_size(values) for name, values in first.items()},
        lambda values: weight(rounded(values)),
        lambda values: {**stored, **{name: value.to(dtypes[name]) for name, value in rounded(values).items()}},
        loose=frozenset(first),
    )
