"""How zeros and the values that stay are stored: dense, a bit mask, or places within every m."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.grouping import cells
from benchvise.core.methods.sparse import Sparse


def stored_tensors(settings: Sparse, mask: Tensor, codes: Tensor) -> dict[str, Tensor]:
    """The tensors of `Sparse.storage` but for scales.

    mask: bool [rows, columns]. codes: values in the weight's dtype, or uint8 codes, [rows, columns].
    """
    if settings.storage_form == "dense":
        return {"weight": codes * mask}
    kept = codes[mask]
    places = {"weight_mask": _packed_mask(settings, mask)}
    if settings.storage_form == "indices":
        places = {"weight_indices": pack_rows(_indices(mask, settings.of)[None].contiguous(), settings.index_bits)}
    if settings.integer is None:
        return places | {"weight_values": kept}
    return places | {"weight_codes": pack_rows(kept[None].contiguous(), settings.bits)}


def decoded_rows(settings: Sparse, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:
    """Rows start to stop of the weight, [stop − start, columns], in the dtype it is computed with."""
    mask = stored_mask(settings, stored, stop, columns)
    first, last = int(mask[:start].sum()), int(mask.sum())
    if settings.integer is None:
        values = stored["weight_values"][first:last]
        return values.new_zeros(stop - start, columns).masked_scatter_(mask[start:], values)
    packed = stored["weight_codes"]
    codes = unpack_rows(packed, settings.bits, _fields(packed, settings.bits))[0, first:last]
    values = codes.float() - float(1 << (settings.bits - 1))
    dense = torch.zeros(stop - start, columns).masked_scatter_(mask[start:], values)
    scale = stored["weight_scale"][start:stop].float()
    return (dense.view(stop - start, scale.shape[1], -1) * scale[..., None]).view(stop - start, columns)


def stored_mask(settings: Sparse, stored: Mapping[str, Tensor], rows: int, columns: int) -> Tensor:
    """bool [rows, columns] of the first rows: which weights stay."""
    if settings.storage_form == "indices":
        kept = rows * (columns // settings.of) * settings.kept
        packed = stored["weight_indices"]
        places = unpack_rows(packed, settings.index_bits, _fields(packed, settings.index_bits))[0, :kept].long()
        mask = torch.zeros(rows * columns // settings.of, settings.of, dtype=torch.bool)
        return mask.scatter_(1, places.view(-1, settings.kept), True).view(rows, columns)
    tall, wide = settings.cell()
    down, across = cells((rows, columns), (tall, wide))
    cell_bits = stored["weight_mask"][:down].cpu().numpy()
    mask = torch.from_numpy(np.unpackbits(cell_bits, axis=1, count=across, bitorder="little").astype(bool))
    if tall == wide == 1:
        return mask
    return mask.repeat_interleave(min(tall, rows), 0)[:rows].repeat_interleave(min(wide, columns), 1)


def _packed_mask(settings: Sparse, mask: Tensor) -> Tensor:
    tall, wide = settings.cell()
    corner = mask[:: min(tall, len(mask)), :: min(wide, mask.shape[1])]
    return torch.from_numpy(np.packbits(corner.cpu().numpy(), axis=1, bitorder="little"))


def _indices(mask: Tensor, of: int) -> Tensor:
    """uint8 [kept]: the place of each weight that stays, within its m."""
    return mask.reshape(-1, of).nonzero()[:, 1].to(torch.uint8)


def _fields(packed: Tensor, bits: int) -> int:
    """As many fields of `bits` bits as the words hold."""
    return packed.shape[1] * 32 // bits


def stored_rows(settings: Sparse, stored: Mapping[str, Tensor], columns: int) -> int:
    """How many rows the weight [rows, columns] has.

    stored: as `Sparse.storage` says, with `weight_values` [kept] in the dtype of the weight.
    """
    kept = len(stored["weight_values"])
    if settings.storage_form == "indices":
        return kept // (columns // settings.of * settings.kept)
    if settings.pattern == "columns" and settings.criterion == "fraction":
        return kept // max(1, int(stored_mask(settings, stored, 1, columns).sum()))
    return len(stored["weight_mask"]) * settings.cell()[0]
