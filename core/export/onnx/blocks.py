"""Stored integer layers turned into what MatMulNBits and DequantizeLinear of ONNX Runtime take."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.methods.activations import INPUT_SCALE
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import unpack_columns


def nbits_tensors(
    layer: Layer, scheme: Integer, layout: PackedLayout, stored: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """qweight uint8 [rows, blocks, bytes], scales float32 [rows · blocks], zeros uint8 [rows · bytes] if asymmetric.

    stored: the scheme's storage.
    """
    rows, columns = layer.matrix_shape
    codes = unpack_rows(stored["weight_packed"], scheme.bits, columns)
    scale, zero = _each_row(scheme, stored, rows)
    assert layout.group_size is not None
    blocks = -(-columns // layout.group_size)
    repeats = blocks // scale.shape[1]
    codes = torch.nn.functional.pad(codes, (0, blocks * layout.group_size - columns))
    scale, zero = scale.repeat_interleave(repeats, 1), zero.repeat_interleave(repeats, 1)
    tensors = {
        "qweight": _bytes(codes, layout.bits).view(rows, blocks, -1),
        "scales": scale.float().reshape(-1).contiguous(),
    }
    if not layout.symmetric:
        tensors["zeros"] = _bytes(zero, layout.bits).reshape(-1)
    return tensors


def qdq_tensors(
    layer: Layer,
    scheme: Integer,
    layout: PackedLayout,  # noqa: ARG001 - there is one
    stored: Mapping[str, Tensor],
) -> dict[str, Tensor]:
    """qweight int8 [rows, columns], scales float32 [rows], input float32 []: the fixed scale of the inputs."""
    codes = unpack_rows(stored["weight_packed"], scheme.bits, layer.matrix_shape[1])
    signed = (codes.to(torch.int16) - (1 << (scheme.bits - 1))).to(torch.int8)
    scales = stored["weight_scale"].float().reshape(-1).contiguous()
    return {"qweight": signed, "scales": scales, "input": stored[INPUT_SCALE].float().reshape(())}


def _each_row(scheme: Integer, stored: Mapping[str, Tensor], rows: int) -> tuple[Tensor, Tensor]:
    scale = stored["weight_scale"]
    if scheme.symmetric:
        zero = torch.full(scale.shape, 1 << (scheme.bits - 1), dtype=torch.uint8)
    else:
        zero = unpack_columns(stored["weight_zero_point"], scheme.bits, scale.shape[0])
    at = torch.arange(rows) // scheme.shared_rows
    return scale[at], zero[at]


def _bytes(codes: Tensor, bits: int) -> Tensor:
    """Codes uint8 [rows, n] packed into bytes, the first in the lowest bits: uint8 [rows, ceil(n · bits / 8)]."""
    each = 8 // bits
    padded = torch.nn.functional.pad(codes, (0, -codes.shape[1] % each))
    lanes = padded.view(len(codes), -1, each)
    packed = torch.zeros(lanes.shape[:2], dtype=torch.uint8)
    for place in range(each):
        packed |= lanes[:, :, place] << (bits * place)
    return packed
