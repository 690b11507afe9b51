"""Small floats under a scale per short block, as the OCP and NVIDIA documents define them: settings and storage."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.floating import DTYPES
from benchvise.core.methods.grouping import cells, words
from benchvise.core.methods.phrases import Phrase, head
from benchvise.core.methods.scheme import Elements, Scheme
from benchvise.core.settings import setting

FP4_BITS = 4


@dataclass(frozen=True)
class BlockFloat(Scheme):
    """Blocks of neighbouring inputs with a scale each. The block's size belongs to the format."""

    block: ClassVar[int]
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})
    fallback: ClassVar[str] = "pad"

    indivisible: Literal["refuse", "pad"] = setting(
        "refuse",
        title="When the block size does not divide",
        help="Refuse the plan, or let the last block of each row be shorter, as if it were padded with zeros; the plan "
        "lists each layer where it is.",
        choices={"refuse": "Refuse", "pad": "Shorter last block"},
        decides=False,
    )

    @property
    def cell(self) -> tuple[int, int]:
        """Rows and columns that share a scale."""
        return 1, self.block

    def fitted(self, layer: Layer) -> tuple[BlockFloat, tuple[str, ...]]:
        columns = layer.matrix_shape[1]
        left = columns % self.block
        if not left:
            return self, ()
        if self.indivisible == "refuse":
            raise RecipeError(
                f"Blocks of {self.block}, as {self.tag} has them, do not divide the {columns} inputs of "
                f"'{layer.name}' (shape {list(layer.shape)})",
                where=layer.name,
                remedy="Use 'indivisible: pad' for a shorter last block, or give the layer another scheme.",
            )
        return self, (f"the last block of each row has {left} of {self.block} weights, as {columns} inputs are",)


@dataclass(frozen=True)
class Microscaling(BlockFloat):
    """OCP microscaling: blocks of 32 elements under a power of two, for MXFP4 and MXFP8."""

    key: ClassVar[str] = "microscaling"
    title: ClassVar[str] = "Microscaling (MX)"
    summary: ClassVar[str] = "4- or 8-bit floating numbers in blocks of 32, each block times a power of two."
    source: ClassVar[str] = "OCP Microscaling Formats (MX) Specification v1.0, sections 5 and 6.3"
    block: ClassVar[int] = 32
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("mxfp4", number="e2m1"),
        head("mxfp8 e4m3", number="e4m3"),
        head("mxfp8 e5m2", number="e5m2"),
        head("mxfp8", number="e4m3"),
    )

    number: Literal["e2m1", "e4m3", "e5m2"] = setting(
        "e2m1",
        title="Format",
        help="MXFP4 takes 4.25 bits per weight, MXFP8 takes 8.25.",
        choices={"e2m1": "MXFP4 (E2M1)", "e4m3": "MXFP8 (E4M3)", "e5m2": "MXFP8 (E5M2)"},
    )

    @property
    def tag(self) -> str:
        return "mxfp4" if self.number == "e2m1" else f"mxfp8 {self.number}"

    @property
    def elements(self) -> Elements:
        return Elements("float", FP4_BITS if self.number == "e2m1" else 8, block=self.block)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        elements = (
            fp4_storage(layer)
            if self.number == "e2m1"
            else StoredTensor("weight", DTYPES[self.number], layer.matrix_shape)
        )
        return elements, StoredTensor("weight_scale", "float8_e8m0fnu", cells(layer.matrix_shape, self.cell))


@dataclass(frozen=True)
class NvFloat4(BlockFloat):
    """NVFP4: blocks of 16 E2M1 numbers under an E4M3 scale, and one float32 scale for the tensor."""

    key: ClassVar[str] = "nvfp4"
    title: ClassVar[str] = "NVFP4"
    summary: ClassVar[str] = "4-bit floating numbers in blocks of 16 with 8-bit scales, and one scale for the tensor."
    source: ClassVar[str] = "NVIDIA, arXiv 2509.25149, appendix C; compressed-tensors, nvfp4-pack-quantized"
    block: ClassVar[int] = 16

    @property
    def tag(self) -> str:
        return "nvfp4"

    @property
    def elements(self) -> Elements:
        return Elements("float", FP4_BITS, block=self.block)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        return (
            fp4_storage(layer),
            StoredTensor("weight_scale", "float8_e4m3fn", cells(layer.matrix_shape, self.cell)),
            StoredTensor("weight_global_scale", "float32", (1,)),
        )


def fp4_storage(layer: Layer) -> StoredTensor:
    """E2M1 elements packed along the rows."""
    rows, columns = layer.matrix_shape
    return StoredTensor("weight_packed", "int32", (rows, words(columns, FP4_BITS)))
