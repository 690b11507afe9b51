"""Stored integer layers turned into the tensors of GPTQ and AWQ folders, block by block, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.export.layouts.transposed import WORD, TransposedForm
from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import pack_columns, unpack_columns

BLOCK_WEIGHTS = 1 << 22
"""Weights that are unpacked at a time."""


def transposed_blocks(
    layer: Layer, scheme: Integer, form: TransposedForm, less: int, stored: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """The tensors of `TransposedForm.tensors` in contiguous blocks of rows.

    stored: the scheme's storage: weight_packed int32 [rows, words], weight_scale [cells of rows, groups] in the layer's
    dtype, and for asymmetric schemes weight_zero_point int32 [words, groups]. less: what zero points are stored less
    by, 1 in the first version of GPTQ. Gives scales in the layer's dtype, all else int32.
    """
    rows, columns = layer.matrix_shape
    scale, zero = _each_row(scheme, stored, rows)
    groups = scale.shape[1]
    yield "scales", scale.T.contiguous()
    zeros = (zero.T.to(torch.int16) - less).bitwise_and_((1 << scheme.bits) - 1).to(torch.uint8).contiguous()
    yield "qzeros", _along_outputs(zeros, scheme.bits, form)
    if form.index:
        yield "g_idx", torch.arange(columns, dtype=torch.int32) // (columns // groups)
    packed = stored["weight_packed"]
    step = max(WORD, BLOCK_WEIGHTS // max(1, rows) // WORD * WORD)
    for start in range(0, columns, step):
        stop = min(start + step, columns)
        words = packed[:, start * scheme.bits // WORD : stop * scheme.bits // WORD]
        codes = unpack_rows(words.contiguous(), scheme.bits, stop - start).T.contiguous()
        yield (
            "qweight",
            _along_outputs(codes, scheme.bits, form) if form.columns_first else pack_columns(codes, scheme.bits),
        )


def decoded(
    layer: Layer, layout: PackedLayout, form: TransposedForm, less: int, tensors: Mapping[str, Tensor]
) -> Tensor:
    """The weight [outputs, inputs], in the dtype of the scales, that such tensors stand for."""
    rows, columns = layer.matrix_shape
    bits = layout.bits
    if form.columns_first:
        codes = _from_outputs(tensors["qweight"], bits, rows, form)
    else:
        codes = unpack_columns(tensors["qweight"], bits, columns)
    zeros = (_from_outputs(tensors["qzeros"], bits, rows, form) + less).bitwise_and_((1 << bits) - 1)
    group = torch.arange(columns) // (columns // tensors["scales"].shape[0])
    steps = codes.float() - zeros[group].float()
    return (steps * tensors["scales"][group].float()).to(tensors["scales"].dtype).T.contiguous()


def _each_row(scheme: Integer, stored: Mapping[str, Tensor], rows: int) -> tuple[Tensor, Tensor]:
    """Scale and zero point uint8 of every row: [rows, groups]."""
    scale = stored["weight_scale"]
    if scheme.symmetric:
        zero = torch.full(scale.shape, 1 << (scheme.bits - 1), dtype=torch.uint8)
    else:
        zero = unpack_columns(stored["weight_zero_point"], scheme.bits, scale.shape[0])
    at = torch.arange(rows) // scheme.shared_rows
    return scale[at], zero[at]


def _along_outputs(codes: Tensor, bits: int, form: TransposedForm) -> Tensor:
    """Codes uint8 [n, outputs] packed along the outputs, in the order of the format."""
    if form.order:
        codes = codes.view(len(codes), -1, len(form.order))[:, :, list(form.order)].reshape(codes.shape)
    return pack_rows(codes.contiguous(), bits)


def _from_outputs(packed: Tensor, bits: int, outputs: int, form: TransposedForm) -> Tensor:
    """What `_along_outputs` packed: uint8 [n, outputs]."""
    codes = unpack_rows(packed.contiguous(), bits, outputs)
    if not form.order:
        return codes
    places = [form.order.index(output) for output in range(len(form.order))]
    return codes.view(len(codes), -1, len(form.order))[:, :, places].reshape(codes.shape)
