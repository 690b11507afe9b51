"""Uniform integer grids of 2 to 8 bits: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import ClassVar, Literal

from core.checkpoint.records import Layer, StoredTensor
from core.errors import RecipeError
from core.methods.scheme import Scheme
from core.settings import setting, settled


@dataclass(frozen=True)
class Integer(Scheme):
    """Codes on a uniform grid with a scale, and for asymmetric grids a zero point, per tensor, row or group.

    Storage is the `pack-quantized` layout of compressed-tensors: codes as a dense little-endian bit stream in int32
    words along the rows, scales in the layer's dtype, zero points packed likewise along the columns.
    """

    key: ClassVar[str] = "integer"
    title: ClassVar[str] = "Integer"
    summary: ClassVar[str] = "Round every weight to one of 2ᵇ evenly spaced values per tensor, row or group."
    source: ClassVar[str] = "Jacob et al., arXiv 1712.05877, section 2.1; compressed-tensors, pack-quantized"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})

    bits: int = setting(
        4, title="Bits", help="Bits per code. Fewer is smaller and coarser.", unit="bit", minimum=2, maximum=8
    )
    symmetric: bool = setting(
        True,
        title="Symmetric",
        help="One scale and no zero point. Off: the grid follows the least and greatest value, for a few more bits.",
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
        return f"int{self.bits} {where}" + ("" if self.symmetric else " asym")

    def group_columns(self, columns: int) -> int:
        """How many neighbouring columns share a scale in a row of `columns` weights."""
        return self.group_size if self.granularity == "group" else columns

    def fitted(self, layer: Layer) -> tuple[Integer, tuple[str, ...]]:
        columns = layer.matrix_shape[1]
        if self.granularity != "group" or columns % self.group_size == 0:
            return self, ()
        divisor = nearest_divisor(columns, self.group_size)
        if self.indivisible == "refuse":
            sizes = [size for size in divisors(columns) if 8 <= size < columns][-6:]
            other = f"group_size {' or '.join(map(str, sizes))}, " if sizes else ""
            raise RecipeError(
                f"The group size {self.group_size} does not divide the {columns} inputs of '{layer.name}' "
                f"(shape {list(layer.shape)})",
                where=layer.name,
                remedy=f"Use {other}granularity channel, or 'indivisible: divisor' to fall back.",
            )
        if divisor == columns:
            note = f"one scale per channel, as the group size {self.group_size} does not divide {columns} inputs"
            return settled(replace(self, granularity="channel")), (note,)
        note = f"group size {divisor} instead of {self.group_size}, which does not divide {columns} inputs"
        return replace(self, group_size=divisor), (note,)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        scales = (1, 1) if self.granularity == "tensor" else (rows, columns // self.group_columns(columns))
        scale_dtype = "float32" if layer.dtype == "float64" else layer.dtype
        stored = [
            StoredTensor("weight_packed", "int32", (rows, words(columns, self.bits))),
            StoredTensor("weight_scale", scale_dtype, scales),
        ]
        if not self.symmetric:
            stored.append(StoredTensor("weight_zero_point", "int32", (words(scales[0], self.bits), scales[1])))
        return tuple(stored)


def words(codes: int, bits: int) -> int:
    """int32 words that hold `codes` codes of `bits` bits as one dense bit stream."""
    return -(-codes * bits // 32)


def nearest_divisor(columns: int, group_size: int) -> int:
    """The divisor of `columns` whose ratio to `group_size` is nearest to 1; of two equally near the smaller."""
    return min(divisors(columns), key=lambda d: max(d, group_size) / min(d, group_size))


@lru_cache(maxsize=1024)  # a plan asks for every layer, and few layers differ
def divisors(columns: int) -> tuple[int, ...]:
    """The divisors of `columns`, ascending. Without 1: a scale for every weight takes more than the weight."""
    return tuple(d for d in range(2, columns + 1) if columns % d == 0) or (columns,)
