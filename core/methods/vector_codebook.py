"""Code books of vectors, one or several that add up: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.grouping import divisors, words
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting, settled

MAX_DIMENSIONS = 8
MAX_CODE_BITS = 32


@dataclass(frozen=True)
class VectorCodebook(Scheme):
    """Neighbouring weights of a row become one code: ŵ = s·Σⱼ cⱼ, a sum of one vector of each book and a scale a row.

    The factor αⱼ of each book is part of its vectors. The code books of a tensor, or of each group of its columns, and
    the scales of the rows are stored in the layer's dtype, those of float64 layers in float32. The bits of a vector's
    codes, first book lowest, are cut into planes of 8 bits (the last may be narrower); `weight_packed` holds the planes
    of a row one after the other, each a dense bit stream of int32 words.
    """

    key: ClassVar[str] = "vector_codebook"
    title: ClassVar[str] = "Vector code book"
    summary: ClassVar[str] = "Round neighbouring weights together to shared vectors, or to sums of them."
    source: ClassVar[str] = (
        "Vectors: Gersho and Gray 1992, chapter 11; van Baalen et al. (GPTVQ), arXiv 2402.15319; "
        "additive: Egiazarian et al. (AQLM), arXiv 2401.06118"
    )
    fallback: ClassVar[str] = "divisor"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("vq{bits}", books=1),
        head("aq{books}×{bits}"),
        word("d{dimension}"),
        word("g{group_size}", granularity="group"),
        word("tensor", granularity="tensor"),
    )

    dimension: int = setting(
        2,
        title="Dimension",
        help="Neighbouring weights of a row that become one code; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=MAX_DIMENSIONS,
    )
    bits: int = setting(
        8,
        title="Index bits",
        help="Each book holds 2ᵇ vectors. Searching takes twice the time with every bit: 12 and more take long.",
        unit="bit",
        minimum=1,
        maximum=16,
        suggestions=(6, 8, 10, 12),
    )
    books: int = setting(
        1,
        title="Books",
        help="Vectors that are added up, one of each book. All indices of a vector take at most 32 bits.",
        minimum=1,
        maximum=4,
    )
    granularity: Literal["tensor", "group"] = setting(
        "tensor",
        title="Granularity",
        help="Whether all columns share the books, or each group of columns has its own.",
        choices={"tensor": "Whole tensor", "group": "Group of columns"},
    )
    group_size: int = setting(
        1024,
        title="Group size",
        help="Columns, over all rows, that share books; a multiple of the dimension that divides the layer's inputs.",
        unit="columns",
        minimum=2,
        maximum=1 << 20,
        suggestions=(256, 512, 1024, 2048),
        when=("granularity", ("group",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="When the group size does not divide",
        help="Refuse the plan, or take the dimension and group size nearest to those asked that divide the layer's "
        "inputs; the plan lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Nearest divisor"},
        decides=False,
    )

    @property
    def tag(self) -> str:
        books = f"vq{self.bits}" if self.books == 1 else f"aq{self.books}×{self.bits}"
        return f"{books} d{self.dimension}" + (f" g{self.group_size}" if self.granularity == "group" else "")

    @property
    def code_bits(self) -> int:
        """Bits of all indices of one vector."""
        return self.books * self.bits

    @property
    def planes(self) -> tuple[int, ...]:
        """Bits of each plane that the indices of a vector are cut into."""
        whole, rest = divmod(self.code_bits, 8)
        return (8,) * whole + ((rest,) if rest else ())

    def group_columns(self, columns: int) -> int:
        """How many neighbouring columns share code books."""
        return self.group_size if self.granularity == "group" else columns

    def fitted(self, layer: Layer) -> tuple[VectorCodebook, tuple[str, ...]]:
        if self.code_bits > MAX_CODE_BITS:
            raise RecipeError(
                f"{self.books} books of {self.bits} bits take {self.code_bits} bits a vector of '{layer.name}', "
                f"more than {MAX_CODE_BITS}",
                where=layer.name,
                remedy="Use fewer books or fewer bits.",
            )
        fitted, notes = self._fitted_dimension(layer)
        if self.granularity == "tensor":
            return fitted, notes
        return fitted._fitted_group(layer, notes)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        dtype = "float32" if layer.dtype == "float64" else layer.dtype
        groups = columns // self.group_columns(columns)
        width = sum(words(columns // self.dimension, plane) for plane in self.planes)
        return (
            StoredTensor("weight_packed", "int32", (rows, width)),
            StoredTensor("weight_scale", dtype, (rows, groups)),
            StoredTensor("weight_codebook", dtype, (groups, self.books, 1 << self.bits, self.dimension)),
        )

    def _fitted_dimension(self, layer: Layer) -> tuple[VectorCodebook, tuple[str, ...]]:
        columns = layer.matrix_shape[1]
        if columns % self.dimension == 0:
            return self, ()
        fits = [size for size in range(2, MAX_DIMENSIONS + 1) if columns % size == 0]
        if self.indivisible == "refuse" or not fits:
            sizes = " or ".join(map(str, fits))
            remedy = f"Use dimension {sizes}, or {_FALL_BACK}." if fits else "Use another scheme for this layer."
            raise RecipeError(
                f"Vectors of {self.dimension} weights do not divide the {columns} inputs of '{layer.name}' "
                f"(shape {list(layer.shape)})",
                where=layer.name,
                remedy=remedy,
            )
        size = min(fits, key=lambda size: max(size, self.dimension) / min(size, self.dimension))
        note = f"vectors of {size} weights instead of {self.dimension}, which does not divide {columns} inputs"
        return replace(self, dimension=size), (note,)

    def _fitted_group(self, layer: Layer, notes: tuple[str, ...]) -> tuple[VectorCodebook, tuple[str, ...]]:
        columns = layer.matrix_shape[1]
        if columns % self.group_size == 0 and self.group_size % self.dimension == 0:
            return self, notes
        what = f"{self.group_size} columns, which do not divide {columns} inputs into vectors of {self.dimension}"
        if self.indivisible == "refuse":
            raise RecipeError(
                f"The code books of '{layer.name}' (shape {list(layer.shape)}) are shared by {what}",
                where=layer.name,
                remedy=f"Use granularity tensor, or {_FALL_BACK}.",
            )
        sizes = [self.dimension * count for count in (1, *divisors(columns // self.dimension))]
        size = min(sizes, key=lambda size: max(size, self.group_size) / min(size, self.group_size))
        if size == columns:
            return settled(replace(self, granularity="tensor")), (*notes, f"shared by all columns instead of {what}")
        return replace(self, group_size=size), (*notes, f"shared by {size} columns instead of {what}")


_FALL_BACK = "'indivisible: divisor' to fall back"
