"""Weights as a run with fixed input scales leaves them, without the calibration that would find the scales."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.compress.apply import treat
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.weights.weights import OriginalWeights, RunWeights


def static_weights(path: Path, recipe: Recipe, folder: Path, scale: float) -> RunWeights:
    """Every treated layer solved by itself; `scale` for the inputs of all layers whose treatment asks for one."""
    checkpoint = open_checkpoint(path)
    treatments, files = {}, {}
    for row in make_plan(checkpoint, recipe).treated_rows:
        layer, treatment = row.layer, row.treatment
        treated = treat(layer, treatment, OriginalWeights(checkpoint), NullProgress())
        grid = arithmetic_of(treatment.scheme).grid(treatment.scheme, *layer.matrix_shape, treated.weight.dtype)
        values = treated.weight.float()
        grid.fit(0, values)
        tensors = grid.stored(grid.encode(0, values)) | treated.tail
        if treatment.activations is not None and treatment.activations.mode == "static":
            tensors["input_scale"] = torch.tensor([scale])
        files[layer.name] = folder / f"{layer.name}.safetensors"
        save_file(tensors, files[layer.name])
        treatments[layer.name] = treatment
    return RunWeights("run:made", OriginalWeights(checkpoint), treatments, files)
