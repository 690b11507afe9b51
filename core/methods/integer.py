"""Uniform integer grids of 2 to 8 bits: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from core.checkpoint.records import Layer, StoredTensor
from core.methods.grouping import fit_group, words
from core.methods.scheme import Scheme
from core.settings import setting, settled


@dataclass(frozen=True)
class Integer(Scheme):
    """Codes on a uniform grid with a scale, and for asymmetric grids a zero point, per tensor, row or group.

    Storage is the `pack-quantized` layout of compressed-tensors: codes as a dense little-endian bit stream in int32
    words along the rows, scales in the layer's dtype, zero points packed likewise along the columns. Zero points that
    are no whole numbers are stored like scales, less half the number of codes.
    """

    key: ClassVar[str] = "integer"
    title: ClassVar[str] = "Integer"
    summary: ClassVar[str] = "Round every weight to one of 2ᵇ evenly spaced values per tensor, row or group."
    source: ClassVar[str] = "Jacob et al., arXiv 1712.05877, section 2.1; compressed-tensors, pack-quantized"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale", "rounding"})

    bits: int = setting(
        4, title="Bits", help="Bits per code. Fewer is smaller and coarser.", unit="bit", minimum=2, maximum=8
    )
    symmetric: bool = setting(
        True,
        title="Symmetric",
        help="One scale and no zero point. Off: the grid follows the least and greatest value, for a few more bits.",
    )
    zero_points: Literal["integer", "float"] = setting(
        "integer",
        title="Zero points",
        help="As one more code, so that zero is represented exactly, or as a floating number like the scale: a better "
        "fit for a few more bits, which no packed format for export holds.",
        choices={"integer": "Whole codes", "float": "Floating numbers"},
        when=("symmetric", (False,)),
    )
    granularity: Literal["tensor", "channel", "group"] = setting(
        "group",
        title="Granularity",
        help="How many weights share a scale.",
        choices={"tensor": "Whole tensor", "channel": "Output channel", "group": "Group along the inputs"},
    )
    group_size: int = setting(
        128,
        title="Group size",
        help="Weights that share a scale; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("granularity", ("group",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="If the group does not divide",
        help="Refuse the plan, or take the divisor of the layer's inputs that is nearest to the group size; the plan "
        "lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Nearest divisor"},
        when=("granularity", ("group",)),
    )

    @property
    def tag(self) -> str:
        where = {"tensor": "tensor", "channel": "channel", "group": f"g{self.group_size}"}[self.granularity]
        zero = "" if self.symmetric else " asym float zero" if self.float_zero else " asym"
        return f"int{self.bits} {where}{zero}"

    @property
    def float_zero(self) -> bool:
        """Whether there are zero points that are floating numbers."""
        return not self.symmetric and self.zero_points == "float"

    def group_columns(self, columns: int) -> int:
        """How many neighbouring columns share a scale in a row of `columns` weights."""
        return self.group_size if self.granularity == "group" else columns

    def fitted(self, layer: Layer) -> tuple[Integer, tuple[str, ...]]:
        if self.granularity != "group":
            return self, ()
        size, notes = fit_group(layer, self.group_size, refuse=self.indivisible == "refuse")
        if size == self.group_size:
            return self, ()
        if size == layer.matrix_shape[1]:
            return settled(replace(self, granularity="channel")), notes
        return replace(self, group_size=size), notes

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        scales = (1, 1) if self.granularity == "tensor" else (rows, columns // self.group_columns(columns))
        scale_dtype = "float32" if layer.dtype == "float64" else layer.dtype
        stored = [
            StoredTensor("weight_packed", "int32", (rows, words(columns, self.bits))),
            StoredTensor("weight_scale", scale_dtype, scales),
        ]
        if self.float_zero:
            stored.append(StoredTensor("weight_zero_point", scale_dtype, scales))
        elif not self.symmetric:
            stored.append(StoredTensor("weight_zero_point", "int32", (words(scales[0], self.bits), scales[1])))
        return tuple(stored)
