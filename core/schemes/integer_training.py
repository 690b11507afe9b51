"""Uniform integer codes under training: the learned step size of LSQ, with learned zero points.

Source: Esser et al., arXiv 1902.08153, section 2; zero points as in LSQ+, arXiv 2004.09576, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import pack_columns
from benchvise.core.schemes.integer_learning import INSIDE, spread_rows
from benchvise.core.schemes.learning import as_stored, rounded
from benchvise.core.schemes.training import Trainable, TrainedValues, straight


def quantised(weight: Tensor, scale: Tensor, zero: Tensor, greatest: int) -> tuple[Tensor, Tensor]:
    """(codes, (codes − zero) · scale) of float32 `weight` [rows, groups, n], both of its shape.

    scale, zero: [rows, groups, 1]. Gradients are those of LSQ: rounding passes them straight through, and where a code
    is at an end of the grid they go to scale and zero point alone.
    """
    codes = rounded(weight / scale + zero, greatest)
    return codes, (codes - zero) * scale


def trainable(
    settings: Integer, stored: Mapping[str, Tensor], scale: Tensor, zero: Tensor | None, target: Tensor
) -> Trainable:
    """The weight before rounding, in steps of its grid, with scales and zero points.

    It begins as near to `target`, float32 [rows, columns], as the codes of `stored` allow. scale: as stored. zero:
    where zero lies by code, None for a symmetric grid.
    """
    rows, columns = target.shape
    along, greatest = scale.shape[1], (1 << settings.bits) - 1
    shape = (rows, along, columns // along)
    over = partial(spread_rows, shared_rows=settings.shared_rows, rows=rows)
    least = torch.finfo(scale.dtype).tiny
    first = scale.float().clamp(min=least)
    origin = torch.full((1, 1), (greatest + 1) / 2) if zero is None else zero.float()
    codes = unpack_rows(stored["weight_packed"], settings.bits, columns).float().view(shape)
    step, middle = over(first)[..., None], over(origin.expand(first.shape))[..., None]
    wanted = target.float().view(shape) / step + middle
    begin = codes + (wanted - codes).nan_to_num_(0.0, 0.0, 0.0).clamp_(-INSIDE, INSIDE) - middle

    def grid(values: TrainedValues) -> tuple[Tensor, Tensor]:
        """Scales and zero points as they are stored."""
        scales = as_stored(values["weight_scale"].clamp(min=least), scale.dtype)
        return scales, _zero(settings, values["weight_zero_point"], scale.dtype) if zero is not None else origin

    def computed(values: TrainedValues) -> tuple[Tensor, Tensor]:
        scales, zeros = grid(values)
        spread = over(zeros.expand(first.shape))[..., None]
        return quantised(values["weight"].view(shape) * step, over(scales)[..., None], spread, greatest)

    def found(values: TrainedValues) -> dict[str, Tensor]:
        scales, zeros = grid(values)
        packed = pack_rows(computed(values)[0].to(torch.uint8).view(rows, columns), settings.bits)
        kept = {**stored, "weight_packed": packed, "weight_scale": scales.to(scale.dtype)}
        if zero is not None and settings.float_zero:
            kept["weight_zero_point"] = (zeros - (greatest + 1) / 2).to(scale.dtype)
        elif zero is not None:
            kept["weight_zero_point"] = pack_columns(zeros.to(torch.uint8), settings.bits)
        return kept

    values, unit = {"weight": begin.view(rows, columns), "weight_scale": first}, first.abs()
    units = {"weight": torch.ones(()), "weight_scale": unit}
    if zero is not None:
        values, units = values | {"weight_zero_point": origin}, units | {"weight_zero_point": torch.ones(())}
    return Trainable(values, units, lambda v: computed(v)[1].view(rows, columns), found, frozenset(values) - {"weight"})


def _zero(settings: Integer, zero: Tensor, dtype: torch.dtype) -> Tensor:
    """Where zero lies by code, as the zero points are stored."""
    if not settings.float_zero:
        return rounded(zero, (1 << settings.bits) - 1)
    half = float(1 << (settings.bits - 1))
    return straight(zero, (zero - half).to(dtype).float() + half)
