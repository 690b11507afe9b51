"""Which treated layers of a checkpoint would run dense all the same, before anything is compressed."""

from __future__ import annotations

from collections.abc import Mapping

import torch

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.linear_layers import linear_modules
from benchvise.core.runtime.prepare import refusal

FUSED = "the architecture keeps the layer fused with others"


def dense_layers(
    checkpoint: Checkpoint, treatments: Mapping[str, Treatment], device: torch.device
) -> dict[str, tuple[Layer, ...]]:
    """By the reason, the linear layers that no kernel of `device` takes under their treatments.

    treatments: by the layers' names; layers that are kept are not told of. Raises CheckpointError without an
    architecture that runs.
    """
    linears = linear_modules(architecture_of(checkpoint).on_meta(), checkpoint)
    by_name = {linear.layer.name: linear for linear in linears if linear.layer is not None}
    found: dict[str, list[Layer]] = {}
    for layer in checkpoint.layers:
        treatment = treatments.get(layer.name)
        if treatment is None or treatment.keeps or layer.kind != "linear":
            continue
        linear = by_name.get(layer.name)
        reason = FUSED if linear is None else refusal(treatment, linear.columns, device)
        if reason is not None:
            found.setdefault(reason, []).append(layer)
    return {reason: tuple(layers) for reason, layers in found.items()}
