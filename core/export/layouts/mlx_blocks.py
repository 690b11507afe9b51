"""Stored integer layers turned into the tensors of MLX, and back."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.export.layouts.packed_layout import PackedLayout
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.integer_grid import unpack_columns


def mlx_tensors(layer: Layer, scheme: Integer, stored: Mapping[str, Tensor]) -> Iterator[tuple[str, Tensor]]:
    """weight uint32 [rows, words], scales and biases [rows, groups] in the dtype of the scales.

    stored: the scheme's storage: weight_packed int32 [rows, words], weight_scale [cells of rows, groups], and for
    asymmetric schemes weight_zero_point, int32 [words, groups] or floating. The stream of bits is the same. A bias is
    rounded to its dtype; without zero points it is a power of two times the scale, which no rounding changes.
    """
    rows = layer.matrix_shape[0]
    scale = stored["weight_scale"]
    if scheme.symmetric:
        zero = torch.full(scale.shape, float(1 << (scheme.bits - 1)))
    elif scheme.float_zero:
        zero = stored["weight_zero_point"].float()
    else:
        zero = unpack_columns(stored["weight_zero_point"], scheme.bits, scale.shape[0]).float()
    at = torch.arange(rows) // scheme.shared_rows
    yield "weight", stored["weight_packed"].contiguous().view(torch.uint32)
    yield "scales", scale[at].contiguous()
    yield "biases", (-scale.float() * zero).to(scale.dtype)[at].contiguous()


def decoded(layout: PackedLayout, tensors: Mapping[str, Tensor], columns: int) -> Tensor:
    """The weight float32 [rows, columns] that such tensors stand for.

    tensors: weight uint32, scales and biases floating, as `mlx_tensors` gives them.
    """
    codes = unpack_rows(tensors["weight"].view(torch.int32), layout.bits, columns).float()
    group = torch.arange(columns) // (columns // tensors["scales"].shape[1])
    return codes * tensors["scales"].float()[:, group] + tensors["biases"].float()[:, group]
