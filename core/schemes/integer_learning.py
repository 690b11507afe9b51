"""Uniform integer codes as things that can be learned."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.learning import Learnable, as_stored, rounded

INSIDE = 0.45
"""How near to the border of its code a weight may begin, in steps: at the border the least offset would flip it."""


def learnable(
    settings: Integer, stored: Mapping[str, Tensor], scale: Tensor, zero: Tensor | None, target: Tensor
) -> Learnable:
    """The initial codes and scales of `stored`; `target` float32 [rows, columns] are the values they stand for.

    scale: as stored. zero: zero points by scale, None for a symmetric grid.
    """
    rows, columns = target.shape
    along = scale.shape[1]
    shape = (rows, along, columns // along)

    def over(of_rows: Tensor) -> Tensor:
        return spread_rows(of_rows, settings.shared_rows, rows)[..., None]

    greatest = (1 << settings.bits) - 1
    codes = unpack_rows(stored["weight_packed"], settings.bits, columns).float().view(shape)
    first = scale.float()
    origin = over(torch.full_like(first, (greatest + 1) / 2) if zero is None else zero.float())
    wanted = target.float().view(shape) / over(first) + origin
    begin = codes + (wanted - codes).clamp_(-INSIDE, INSIDE)

    def scaled(scales: Tensor) -> Tensor:
        return as_stored(first * scales.exp(), scale.dtype)

    def weight(offsets: Tensor, scales: Tensor) -> Tensor:
        moved = rounded(begin + offsets.view(shape), greatest)
        return ((moved - origin) * over(scaled(scales))).view(rows, columns)

    def found(offsets: Tensor, scales: Tensor) -> dict[str, Tensor]:
        moved = (begin + offsets.view(shape)).round_().clamp_(0, greatest).to(torch.uint8)
        packed = pack_rows(moved.view(rows, columns), settings.bits)
        return {**stored, "weight_packed": packed, "weight_scale": scaled(scales).to(scale.dtype)}

    return Learnable(torch.zeros(rows, columns), torch.zeros(scale.shape), weight, found)


def spread_rows(of_rows: Tensor, shared_rows: int, rows: int) -> Tensor:
    """What `shared_rows` neighbouring rows share, [parts, groups] of any dtype, for each of `rows` rows.

    As it is where all rows share one part, or each row has its own.
    """
    if shared_rows == 1 or len(of_rows) == 1:
        return of_rows
    return of_rows.repeat_interleave(shared_rows, 0)[:rows]
