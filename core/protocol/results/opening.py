"""A checkpoint as it was opened, and a recipe resolved on it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.recipe.plan_warning import PlanWarning


@dataclass(frozen=True)
class LayersOpened:
    """A part of the layers of a checkpoint that is being opened, in order."""

    layers: tuple[Layer, ...]


@dataclass(frozen=True)
class Opened:
    """The checkpoint without its layers, which came before in `LayersOpened` parts."""

    checkpoint: Checkpoint


@dataclass(frozen=True)
class Planned:
    """A plan in columns, one entry per layer of the checkpoint as it was opened, in its order.

    Layers that surgery leaves out have the tag "dropped" and no bytes.
    tags:  what treatments are called, with what was asked where that did not fit. keys: of the same (`Treatment.key`).
    `choice[i]` indexes both for layer i; `rules[i]` is -1 where no rule decided.
    calibration: what the job reads to learn activations from, in words; "" when nothing does.
    """

    tags: tuple[str, ...]
    choice: NDArray[np.int32]
    bytes_after: NDArray[np.int64]
    rules: NDArray[np.int32]
    total_before: int
    total_after: int
    bits_per_weight: float
    bits_per_treated_weight: float
    treated_layers: int
    warnings: tuple[PlanWarning, ...]
    calibration: str = ""
    keys: tuple[str, ...] = ()
