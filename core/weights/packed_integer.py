"""Integer layers of the compressed-tensors formats: codes packed in words, or as int8."""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import ClassVar

import torch
from torch import Tensor

from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.kernels.packing import pack_rows
from benchvise.core.methods.grouping import words
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.schemes.integer_grid import pack_columns
from benchvise.core.weights.packed_layer import PackedLayer


@dataclass(frozen=True)
class PackedInteger(PackedLayer[Integer]):
    """`pack-quantized`, and `int-quantized` where there is a `weight`."""

    kind: ClassVar[type[Scheme]] = Integer

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        if "weight_packed" in self.parts:
            return {"weight_packed": load_rows(self.parts["weight_packed"], start, stop)}
        return {"weight_packed": pack_rows(_unsigned(load_rows(self.parts["weight"], start, stop), 8), 8)}

    def tail(self) -> dict[str, Tensor]:
        scale = load_tensor(self.parts["weight_scale"])
        scale = scale.reshape(1, 1) if scale.numel() == 1 else scale
        if self.scheme.symmetric:
            return {"weight_scale": scale}
        zero = load_tensor(self.parts["weight_zero_point"])
        if zero.dtype == torch.int8:
            zero = pack_columns(_unsigned(zero, self.scheme.bits).reshape(scale.shape), self.scheme.bits)
        return {"weight_scale": scale, "weight_zero_point": zero}

    def packed_shape(self, rows: int, columns: int) -> tuple[int, int]:
        if "weight_shape" not in self.parts or self.parts["weight_shape"].elements != 2:
            raise self.unfit("has no weight_shape, so its inputs are not known")
        rows, columns = (int(size) for size in load_tensor(self.parts["weight_shape"]))
        return rows, columns

    def expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        rows, columns = shape
        if "weight" in self.parts:
            return {"weight": ("int8", shape)}
        return {"weight_packed": ("int32", (rows, words(columns, self.scheme.bits)))}

    def check_scales(self, shape: tuple[int, int]) -> None:
        rows, columns = shape
        group = self.scheme.group_columns(columns)
        scales = (1, 1) if self.scheme.granularity == "tensor" else (rows, columns // group)
        self.check_scale_count(scales, divides=columns % group == 0)
        if self.scheme.symmetric:
            return
        zero = self.parts.get("weight_zero_point")
        packed = (words(scales[0], self.scheme.bits), scales[1])
        fits = zero is not None and (
            (zero.dtype == "int8" and zero.elements == prod(scales)) or (zero.dtype == "int32" and zero.shape == packed)
        )
        if not fits:
            raise self.unfit("has no zero points that fit its scales")

    @property
    def dense_dtype(self) -> str:
        return self.parts["weight_scale"].dtype


def _unsigned(codes: Tensor, bits: int) -> Tensor:
    """Signed int8 codes as uint8 from 0."""
    return (codes.to(torch.int16) + (1 << (bits - 1))).to(torch.uint8)
