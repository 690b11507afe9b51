"""8-bit floating numbers with a scale: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.grouping import ALL, cells
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Elements, Scheme
from benchvise.core.settings import setting

DTYPES = {"e4m3": "float8_e4m3fn", "e5m2": "float8_e5m2"}
"""What torch calls the formats of 8-bit floats."""


@dataclass(frozen=True)
class Floating(Scheme):
    """8-bit floats with a scale per tensor, row or block of rows by columns; the blocks at the edges may be smaller."""

    key: ClassVar[str] = "floating"
    title: ClassVar[str] = "Floating (FP8)"
    summary: ClassVar[str] = "Round every weight to an 8-bit floating number, times a scale per tensor, row or block."
    source: ClassVar[str] = "Micikevicius et al., arXiv 2209.05433; blocks as in DeepSeek-V3, arXiv 2412.19437, 3.3"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("fp8"),
        word("{number}"),
        word("tensor", granularity="tensor"),
        word("channel", granularity="channel"),
        word("{block_rows}×{block_columns}", granularity="block"),
        word("own scales", scales="weight"),
    )

    number: Literal["e4m3", "e5m2"] = setting(
        "e4m3",
        title="Format",
        help="E4M3 is finer and reaches to 448, E5M2 is coarser and reaches to 57344.",
        choices={"e4m3": "E4M3 (largest 448)", "e5m2": "E5M2 (largest 57344)"},
    )
    granularity: Literal["tensor", "channel", "block"] = setting(
        "channel",
        title="Granularity",
        help="How many weights share a scale.",
        choices={"tensor": "Whole tensor", "channel": "Output channel", "block": "Block of rows by columns"},
    )
    block_rows: int = setting(
        128,
        title="Block rows",
        help="Output channels of a block that shares a scale; the last block may have fewer.",
        unit="rows",
        minimum=1,
        maximum=1 << 20,
        suggestions=(1, 64, 128),
        when=("granularity", ("block",)),
    )
    block_columns: int = setting(
        128,
        title="Block columns",
        help="Inputs of a block that shares a scale; the last block may have fewer.",
        unit="weights",
        minimum=1,
        maximum=1 << 20,
        suggestions=(32, 64, 128),
        when=("granularity", ("block",)),
    )
    scales: Literal["float32", "weight"] = setting(
        "float32",
        title="Scales in",
        help="The numbers that scales are stored in: single precision, or the layer's own dtype.",
        choices={"float32": "Single precision", "weight": "The layer's dtype"},
    )

    @property
    def tag(self) -> str:
        block = f"{self.block_rows}×{self.block_columns}"
        where = block if self.granularity == "block" else self.granularity
        return f"fp8 {self.number} {where}" + ("" if self.scales == "float32" else " own scales")

    @property
    def cell(self) -> tuple[int, int]:
        """Rows and columns that share a scale."""
        blocks = {"tensor": (ALL, ALL), "channel": (1, ALL), "block": (self.block_rows, self.block_columns)}
        return blocks[self.granularity]

    @property
    def elements(self) -> Elements:
        return Elements("float", 8)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        own = self.scales == "weight" and layer.dtype != "float64"
        return (
            StoredTensor("weight", DTYPES[self.number], layer.matrix_shape),
            StoredTensor("weight_scale", layer.dtype if own else "float32", cells(layer.matrix_shape, self.cell)),
        )
