"""Matrices with zeros under training: which weights are zero stays as it is."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.integer_learning import INSIDE
from benchvise.core.schemes.integer_training import quantised
from benchvise.core.schemes.learning import as_stored
from benchvise.core.schemes.sparse_storage import decoded_rows, stored_mask, stored_tensors
from benchvise.core.schemes.training import Trainable, TrainedValues


def trainable_integers(settings: Sparse, stored: Mapping[str, Tensor], target: Tensor) -> Trainable:
    """The values that stay, before rounding and in steps of their grid, with its scales.

    target: float32 [rows, columns]; it begins as near to it as the codes allow.
    """
    rows, columns = target.shape
    scale = stored["weight_scale"]
    least, greatest = torch.finfo(scale.dtype).tiny, (1 << settings.bits) - 1
    first, middle = scale.float().clamp(min=least), torch.full((1, 1, 1), (greatest + 1) / 2)
    shape, step = (rows, scale.shape[1], -1), first[..., None]
    mask = stored_mask(settings, stored, rows, columns)
    units = dict(stored) | {"weight_scale": torch.ones_like(scale, dtype=torch.float32)}
    codes = decoded_rows(settings, units, 0, rows, columns).view(shape)
    begin = codes + (target.view(shape) / step - codes).nan_to_num_(0.0, 0.0, 0.0).clamp_(-INSIDE, INSIDE)

    def computed(values: TrainedValues) -> tuple[Tensor, Tensor, Tensor]:
        scales = as_stored(values["weight_scale"].clamp(min=least), scale.dtype)
        found, weight = quantised(values["weight"].view(shape) * step, scales[..., None], middle, greatest)
        return scales, found, weight.view(rows, columns) * mask

    def kept(values: TrainedValues) -> dict[str, Tensor]:
        scales, found, _ = computed(values)
        places = stored_tensors(settings, mask, found.to(torch.uint8).view(rows, columns))
        return {**stored, **places, "weight_scale": scales.to(scale.dtype)}

    return Trainable(
        {"weight": (begin.view(rows, columns) * mask), "weight_scale": first},
        {"weight": mask.float(), "weight_scale": first},
        lambda values: computed(values)[2],
        kept,
        fine=frozenset({"weight_scale"}),
    )
