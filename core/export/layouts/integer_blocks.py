"""Stored integer layers turned into the tensors of the compressed-tensors formats, block by block."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.packed_layout import PACKED, UNPACKED, PackedLayout
from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import pack_columns, unpack_columns

BLOCK_WEIGHTS = 1 << 22
"""Weights that are unpacked at a time."""


def integer_blocks(
    layer: Layer, scheme: Integer, layout: PackedLayout, stored: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of `IntegerForm` in contiguous blocks of rows.

    stored: the scheme's storage: weight_packed int32 [rows, words], weight_scale [cells of rows, groups] in the layer's
    dtype, and for asymmetric schemes weight_zero_point int32 [words, groups].
    Gives weight_scale in that dtype, weight_packed int32 or weight int8, weight_shape int64 [2] and weight_zero_point
    int8, or int32 where the layout packs them.
    """
    rows, columns = layer.matrix_shape
    scale = stored["weight_scale"]
    zero_point = None
    if not scheme.symmetric:
        zero_point = unpack_columns(stored["weight_zero_point"], scheme.bits, scale.shape[0])
    if scheme.granularity == "block":
        scale = scale.repeat_interleave(scheme.block_rows, 0)[:rows]
        zero_point = None if zero_point is None else zero_point.repeat_interleave(scheme.block_rows, 0)[:rows]
    yield "weight_scale", scale
    if layout.format == PACKED:
        yield "weight_shape", torch.tensor([rows, columns])
    if not layout.symmetric and zero_point is not None:
        packed = layout.packs_zero_points
        yield "weight_zero_point", pack_columns(zero_point, layout.bits) if packed else _signed(zero_point, layout.bits)
    step = max(1, BLOCK_WEIGHTS // max(1, columns))
    for start in range(0, rows, step):
        stop = min(start + step, rows)
        zero = None if zero_point is None or layout.strategy == "tensor" else zero_point[start:stop]
        codes = _codes(stored["weight_packed"][start:stop], scheme, layout, columns, zero)
        yield "weight" if layout.format == UNPACKED else "weight_packed", codes


def _codes(packed: Tensor, scheme: Integer, layout: PackedLayout, columns: int, zero_point: Tensor | None) -> Tensor:
    """Rows of `packed` as the layout holds them: int32 words, or int8 codes. zero_point: uint8 [rows, groups]."""
    if layout.format == PACKED and layout.bits == scheme.bits:
        return packed
    codes = unpack_rows(packed, scheme.bits, columns)
    if layout.format == UNPACKED:
        return _signed(codes, layout.bits)
    assert zero_point is not None
    shift = (1 << scheme.bits) - zero_point  # u − z of [1 − 2ᵇ, 2ᵇ − 1], seen from the middle 2ᵇ of the wider codes
    grouped = codes.view(*zero_point.shape, -1) + shift.unsqueeze(-1)
    return pack_rows(grouped.view(codes.shape), layout.bits)


def _signed(codes: Tensor, bits: int) -> Tensor:
    """Unsigned codes uint8 as the signed int8 that the formats hold."""
    return (codes.to(torch.int16) - (1 << (bits - 1))).to(torch.int8)
