"""How a packed layer is stored, in the words of compressed-tensors. Facts only; no tensors."""

from __future__ import annotations

from dataclasses import dataclass

from benchvise.core.methods.activations import Activations

PACKED = "pack-quantized"
UNPACKED = "int-quantized"
FP8 = "float-quantized"
MXFP4 = "mxfp4-pack-quantized"
MXFP8 = "mxfp8-quantized"
NVFP4 = "nvfp4-pack-quantized"


@dataclass(frozen=True)
class PackedLayout:
    """The layout of a layer's codes and scales.

    format: what the target calls it. kind: "int" or "float". group_size is None unless `strategy` is "group" or
    "tensor_group", block (rows, columns) unless it is "block". inputs: how the layer's inputs are quantised, None for
    not at all. scale_dtype: of scales that are codes themselves.
    """

    format: str
    bits: int
    symmetric: bool
    strategy: str
    group_size: int | None
    inputs: Activations | None = None
    kind: str = "int"
    block: tuple[int, int] | None = None
    scale_dtype: str = ""

    @property
    def packs_zero_points(self) -> bool:
        """Whether zero points are packed along the rows, as words int32 [words, groups]; int8 otherwise."""
        return self.format == PACKED and not self.symmetric and self.strategy in ("group", "channel")
