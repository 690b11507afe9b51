"""Scalar code books under training: weights go to the nearest level of their book, and levels move."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.codebook import Codebook
from benchvise.core.schemes.learning import as_stored
from benchvise.core.schemes.training import Trainable, TrainedValues


def trainable(
    settings: Codebook,
    stored: Mapping[str, Tensor],
    name: str,
    books: Callable[[Tensor], Tensor],
    target: Tensor,
) -> Trainable:
    """The weight before it is given its level, and the stored tensor `name` of scales or levels.

    books: ascending levels [rows or 1, groups, levels] from that tensor, float32. target: float32 [rows, columns].
    """
    rows, columns = target.shape
    parameter = stored[name]
    codes = unpack_rows(stored["weight_packed"], settings.bits, columns).long()
    first = books(parameter.float())
    shape = (rows, first.shape[1], -1)
    now = _of(first, codes.view(shape))
    wanted = target.reshape(shape)
    begin = torch.where(_of(first, _nearest(first, wanted)) == now, wanted, now)
    begin = torch.minimum(torch.maximum(begin, first[..., :1]), first[..., -1:])

    def chosen(values: TrainedValues) -> tuple[Tensor, Tensor, Tensor]:
        """The parameter as stored, its books and the codes."""
        kept = as_stored(values[name], parameter.dtype)
        found = books(kept)
        return kept, found, _nearest(found.detach(), values["weight"].detach().view(shape))

    def weight(values: TrainedValues) -> Tensor:
        _, found, at = chosen(values)
        latent = values["weight"].view(shape)
        inside = torch.minimum(torch.maximum(latent, found[..., :1].detach()), found[..., -1:].detach())
        return (_of(found, at) + (inside - inside.detach())).view(rows, columns)

    def stored_as(values: TrainedValues) -> dict[str, Tensor]:
        kept, found, at = chosen(values)
        if name == "weight_codebook":  # codes count levels upwards, which may have changed places
            kept = found.reshape(parameter.shape)
        packed = pack_rows(at.to(torch.uint8).view(rows, columns), settings.bits)
        return {**stored, "weight_packed": packed, name: kept.to(parameter.dtype)}

    spacing = (first[..., -1:] - first[..., :1]) / max(1, first.shape[-1] - 1)
    return Trainable(
        {"weight": begin.view(rows, columns), name: parameter.float()},
        {
            "weight": spacing.expand(shape[0], shape[1], columns // shape[1]).reshape(rows, columns),
            name: _unit(parameter),
        },
        weight,
        stored_as,
        fine=frozenset({name}),
    )


def _nearest(books: Tensor, values: Tensor) -> Tensor:
    """The numbers of the levels nearest to values [rows, groups, n]."""
    middles = (books[..., 1:] + books[..., :-1]) / 2
    return torch.searchsorted(middles.expand(*values.shape[:2], -1).contiguous(), values.contiguous())


def _of(books: Tensor, codes: Tensor) -> Tensor:
    """The levels of codes [rows, groups, n]."""
    return books.expand(*codes.shape[:2], -1).gather(2, codes)


def _unit(parameter: Tensor) -> Tensor:
    """Of a scale its size; of levels the mean size of those of their book."""
    size = parameter.float().abs()
    return size.mean(-1, keepdim=True).clamp_(min=torch.finfo(torch.float32).tiny)
