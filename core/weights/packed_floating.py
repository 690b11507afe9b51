"""Floating layers of the compressed-tensors formats: FP8 with real scales, MXFP4, MXFP8 and NVFP4."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.checkpoint.tensors import load_rows, load_tensor
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.grouping import cells
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.weights.packed_layer import PackedLayer

_E4M3 = "float8_e4m3fn"
_WORD_BYTES = 4


@dataclass(frozen=True)
class PackedFloating(PackedLayer[Floating]):
    """`float-quantized`."""

    kind: ClassVar[type[Scheme]] = Floating

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        return {"weight": load_rows(self.parts["weight"], start, stop)}

    def tail(self) -> dict[str, Tensor]:
        return {"weight_scale": load_tensor(self.parts["weight_scale"]).reshape(cells(self.shape(), self.scheme.cell))}

    def expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        return {"weight": (_E4M3, shape)}

    def check_scales(self, shape: tuple[int, int]) -> None:
        self.check_scale_count(cells(shape, self.scheme.cell))

    @property
    def dense_dtype(self) -> str:
        return self.parts["weight_scale"].dtype


@dataclass(frozen=True)
class PackedMicroscaling(PackedLayer[Microscaling]):
    """`mxfp4-pack-quantized` and `mxfp8-quantized`."""

    kind: ClassVar[type[Scheme]] = Microscaling

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        if "weight_packed" in self.parts:
            return {"weight_packed": _words(self.parts["weight_packed"], start, stop)}
        return {"weight": load_rows(self.parts["weight"], start, stop)}

    def tail(self) -> dict[str, Tensor]:
        return {"weight_scale": load_tensor(self.parts["weight_scale"]).view(torch.float8_e8m0fnu)}

    def expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        expected = _fp4(shape) if self.scheme.number == "e2m1" else {"weight": (_E4M3, shape)}
        return {**expected, "weight_scale": ("uint8", cells(shape, self.scheme.cell))}

    def check_scales(self, shape: tuple[int, int]) -> None:
        self.check_scale_count(cells(shape, self.scheme.cell), divides=shape[1] % self.scheme.block == 0)


@dataclass(frozen=True)
class PackedNvFloat4(PackedLayer[NvFloat4]):
    """`nvfp4-pack-quantized`."""

    kind: ClassVar[type[Scheme]] = NvFloat4

    def rows(self, start: int, stop: int) -> dict[str, Tensor]:
        return {"weight_packed": _words(self.parts["weight_packed"], start, stop)}

    def tail(self) -> dict[str, Tensor]:
        divisor = load_tensor(self.parts["weight_global_scale"]).float().reshape(1)
        return {"weight_scale": load_tensor(self.parts["weight_scale"]), "weight_global_scale": divisor}

    def expected(self, shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
        return _fp4(shape) | {"weight_scale": (_E4M3, cells(shape, self.scheme.cell))}

    def check_scales(self, shape: tuple[int, int]) -> None:
        self.check_scale_count(cells(shape, self.scheme.cell), divides=shape[1] % self.scheme.block == 0)
        divisor = self.parts.get("weight_global_scale")
        if divisor is None or divisor.elements != 1:
            raise self.unfit("has no single weight_global_scale")


def _fp4(shape: tuple[int, int]) -> dict[str, tuple[str, tuple[int, ...]]]:
    rows, columns = shape
    return {"weight_packed": ("uint8", (rows, columns // 2))}


def _words(entry: TensorEntry, start: int, stop: int) -> Tensor:
    """Rows of packed bytes uint8 as int32 words, padded with zeros at the end of each row."""
    packed = load_rows(entry, start, stop)
    return pad(packed, (0, -packed.shape[1] % _WORD_BYTES)).view(torch.int32)
