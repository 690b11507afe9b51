"""Uniform integer grids of 2 to 8 bits: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.grouping import ALL, cells, fit_group, words
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Elements, Scheme
from benchvise.core.settings import setting, settled


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
    fallback: ClassVar[str] = "divisor"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale", "rounding"})
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("int{bits}"),
        word("tensor", granularity="tensor"),
        word("channel", granularity="channel"),
        word("g{group_size}", granularity="group"),
        word("{block_rows}×{group_size}", granularity="block"),
        word("asym", symmetric=False),
        word("float zero", zero_points="float"),
    )

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
    granularity: Literal["tensor", "channel", "group", "block"] = setting(
        "group",
        title="Granularity",
        help="How many weights share a scale.",
        choices={
            "tensor": "Whole tensor",
            "channel": "Output channel",
            "group": "Group along the inputs",
            "block": "Block of rows by inputs",
        },
    )
    group_size: int = setting(
        128,
        title="Group size",
        help="Weights that share a scale; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("granularity", ("group", "block")),
    )
    block_rows: int = setting(
        128,
        title="Block rows",
        help="Output channels that share their groups' scales; the last block may have fewer.",
        unit="rows",
        minimum=2,
        maximum=1 << 20,
        suggestions=(16, 64, 128),
        when=("granularity", ("block",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="When the group size does not divide",
        help="Refuse the plan, or take the longest shorter group that divides the layer's inputs and that kernels "
        "take, without one a scale per channel (for blocks the nearest divisor); the plan lists each such layer.",
        choices={"refuse": "Refuse", "divisor": "Divisor that kernels take"},
        when=("granularity", ("group", "block")),
        decides=False,
    )

    @property
    def tag(self) -> str:
        block = f"{self.block_rows}×{self.group_size}"
        sizes = {"tensor": "tensor", "channel": "channel", "group": f"g{self.group_size}", "block": block}
        where = sizes[self.granularity]
        zero = "" if self.symmetric else " asym float zero" if self.float_zero else " asym"
        return f"int{self.bits} {where}{zero}"

    @property
    def float_zero(self) -> bool:
        """Whether there are zero points that are floating numbers."""
        return not self.symmetric and self.zero_points == "float"

    def group_columns(self, columns: int) -> int:
        """How many neighbouring columns share a scale in a row of `columns` weights."""
        return self.group_size if self.granularity in ("group", "block") else columns

    @property
    def shared_rows(self) -> int:
        """How many neighbouring rows share their scales; the last ones may be fewer."""
        return {"tensor": ALL, "channel": 1, "group": 1, "block": self.block_rows}[self.granularity]

    @property
    def grouping(self) -> tuple[str, int] | None:
        return self.granularity, self.group_size

    @property
    def elements(self) -> Elements:
        return Elements("int", self.bits, self.symmetric)

    def with_bits(self, bits: int) -> Integer:
        return replace(self, bits=bits)

    def without_groups(self) -> Integer:
        return settled(replace(self, granularity="channel")) if self.granularity == "group" else self

    def without_zero_points(self) -> Integer:
        return settled(replace(self, symmetric=True))

    def fitted(self, layer: Layer) -> tuple[Integer, tuple[str, ...]]:
        if self.granularity not in ("group", "block"):
            return self, ()
        refuse, kernels = self.indivisible == "refuse", self.granularity == "group"
        size, notes = fit_group(layer, self.group_size, refuse=refuse, kernels=kernels)
        if size == self.group_size:
            return self, ()
        if size == layer.matrix_shape[1] and self.granularity == "group":
            return settled(replace(self, granularity="channel")), notes
        return replace(self, group_size=size), notes

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        scales = cells((rows, columns), (self.shared_rows, self.group_columns(columns)))
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
