"""Code books of scalars: any 2ᵇ levels per tensor, row or group; settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.grouping import fit_group, words
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting, settled


@dataclass(frozen=True)
class Codebook(Scheme):
    """Codes that index a table of levels. Normal float has one fixed table and a scale; the others store their tables.

    Scales and levels are stored in the layer's dtype, those of float64 layers in float32.
    """

    key: ClassVar[str] = "codebook"
    title: ClassVar[str] = "Code book"
    summary: ClassVar[str] = "Round every weight to one of 2ᵇ levels that follow the weights' distribution."
    source: ClassVar[str] = (
        "Normal float: Dettmers et al., arXiv 2305.14314, section 3 and appendix E; quantiles: arXiv 2110.02861; "
        "k-means: Han et al., arXiv 1510.00149, section 3, weighed by diag(H) as in arXiv 2306.07629"
    )
    fallback: ClassVar[str] = "divisor"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("nf{bits}", kind="normal_float"),
        head("quantile{bits}", kind="quantile"),
        head("kmeans{bits}", kind="kmeans"),
        word("tensor", granularity="tensor"),
        word("channel", granularity="channel"),
        word("g{group_size}", granularity="group"),
    )

    kind: Literal["normal_float", "quantile", "kmeans"] = setting(
        "normal_float",
        title="Levels",
        help="The quantiles of a bell curve times a scale; the quantiles of the weights; or the levels of least "
        "squared error (k-means), weighed by the inputs' mean squares where the solver knows them.",
        choices={"normal_float": "Normal float", "quantile": "Quantiles", "kmeans": "k-means"},
    )
    bits: int = setting(
        4,
        title="Bits",
        help="Bits per code; a code book has 2ᵇ levels. Normal float takes at least 2.",
        unit="bit",
        minimum=1,
        maximum=8,
    )
    granularity: Literal["tensor", "channel", "group"] = setting(
        "group",
        title="Granularity",
        help="How many weights share a scale or a code book. Code books of small groups take more than their codes.",
        choices={"tensor": "Whole tensor", "channel": "Output channel", "group": "Group along the inputs"},
    )
    group_size: int = setting(
        64,
        title="Group size",
        help="Weights that share a scale or a code book; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("granularity", ("group",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="When the group size does not divide",
        help="Refuse the plan, or take the divisor of the layer's inputs that is nearest to the group size; the plan "
        "lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Nearest divisor"},
        when=("granularity", ("group",)),
        decides=False,
    )

    @property
    def tag(self) -> str:
        where = {"tensor": "tensor", "channel": "channel", "group": f"g{self.group_size}"}[self.granularity]
        name = {"normal_float": "nf", "quantile": "quantile", "kmeans": "kmeans"}[self.kind]
        return f"{name}{self.bits} {where}"

    @property
    def levels(self) -> int:
        return 1 << self.bits

    def group_columns(self, columns: int) -> int:
        """How many neighbouring columns share a scale or a code book in a row of `columns` weights."""
        return self.group_size if self.granularity == "group" else columns

    @property
    def grouping(self) -> tuple[str, int] | None:
        return self.granularity, self.group_size

    def fitted(self, layer: Layer) -> tuple[Codebook, tuple[str, ...]]:
        if self.kind == "normal_float" and self.bits == 1:
            raise RecipeError(
                f"Normal float takes at least 2 bits, and '{layer.name}' is asked for 1",
                where=layer.name,
                remedy="Use 2 bits or more, or kind kmeans.",
            )
        if self.granularity != "group":
            return self, ()
        columns = layer.matrix_shape[1]
        size, notes = fit_group(layer, self.group_size, refuse=self.indivisible == "refuse")
        if not notes:
            return self, ()
        if size < columns:
            return replace(self, group_size=size), notes
        shared = "scale" if self.kind == "normal_float" else "code book"
        note = f"one {shared} per channel, as the group size {self.group_size} does not divide {columns} inputs"
        return settled(replace(self, granularity="channel")), (note,)

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        dtype = "float32" if layer.dtype == "float64" else layer.dtype
        packed = StoredTensor("weight_packed", "int32", (rows, words(columns, self.bits)))
        groups = columns // self.group_columns(columns)
        if self.kind == "normal_float":
            scales = (1, 1) if self.granularity == "tensor" else (rows, groups)
            return packed, StoredTensor("weight_scale", dtype, scales)
        books = {"tensor": (1,), "channel": (rows,), "group": (rows, groups)}[self.granularity]
        return packed, StoredTensor("weight_codebook", dtype, (*books, self.levels))
