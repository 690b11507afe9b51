"""Low rank: settings, which ranks pay, and exact storage."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.grouping import words
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting, settled


@dataclass(frozen=True)
class LowRank(Scheme):
    """A weight [rows, columns] becomes the product of two factors, [rows, rank] and [rank, columns]; what that leaves
    may be kept beside it as integers.

    Both are stored in the layer's dtype, or as symmetric integers with a scale for each of their rows. A rank whose
    factors are not smaller than the layer's values, however those are stored, is refused.
    """

    key: ClassVar[str] = "low_rank"
    title: ClassVar[str] = "Low rank"
    summary: ClassVar[str] = "Replace a weight by the product of two thin factors: smaller, and fewer multiplications."
    source: ClassVar[str] = (
        "Eckart and Young 1936; SVD-LLM, arXiv 2403.07378, section 3; beside integers: LQER, arXiv 2402.02446"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"factors"})
    fallback: ClassVar[str] = "divisor"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("low rank {share%}%", criterion="share"),
        head("rank {rank}", criterion="rank"),
        word("global", scope="global"),
        word("int{bits}", values="integer"),
        word("+ int{residual_bits}", residual="integer"),
        word("g{group_size}"),
    )

    criterion: Literal["share", "rank"] = setting(
        "share",
        title="Rank by",
        help="The share of the layer's parameters that its factors may have, or the rank itself.",
        choices={"share": "Share of parameters", "rank": "Rank"},
    )
    share: float = setting(
        0.8,
        title="Parameters kept",
        help="Parameters of both factors, as a share of the layer's; the rank is the largest within it.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.4, 0.6, 0.8),
        when=("criterion", ("share",)),
    )
    rank: int = setting(
        64,
        title="Rank",
        help="Columns of the first factor and rows of the second.",
        minimum=1,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("criterion", ("rank",)),
    )
    scope: Literal["layer", "global"] = setting(
        "layer",
        title="Share of",
        help="Each layer by itself; or all layers of the rule together, and the run gives each the rank that helps the "
        "network's outputs most, or leaves it whole, by one backward pass on calibration text.",
        choices={"layer": "Each layer", "global": "All layers of the rule"},
        when=("criterion", ("share",)),
    )
    values: Literal["dtype", "integer"] = setting(
        "dtype",
        title="Factors",
        help="In the layer's own dtype, or as symmetric integers with a scale for each row of a factor.",
        choices={"dtype": "In the layer's dtype", "integer": "Integers"},
    )
    bits: int = setting(
        8,
        title="Bits",
        help="Bits of each value of the factors.",
        unit="bit",
        minimum=2,
        maximum=8,
        when=("values", ("integer",)),
    )

    residual: Literal["none", "integer"] = setting(
        "none",
        title="Beside the factors",
        help="Nothing, or what they leave of the weight as integers in groups: then they correct what rounding costs.",
        choices={"none": "Nothing", "integer": "The rest as integers"},
    )
    residual_bits: int = setting(
        4,
        title="Bits of the rest",
        help="Bits of each weight of what the factors leave.",
        unit="bit",
        minimum=2,
        maximum=8,
        when=("residual", ("integer",)),
    )
    group_size: int = setting(
        128,
        title="Group size",
        help="Weights of the rest that share a scale; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("residual", ("integer",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="When the group size does not divide",
        help="Refuse the plan, or take a group as integers do: the longest shorter one that divides the layer's inputs "
        "and that kernels take; the plan lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Divisor that kernels take"},
        when=("residual", ("integer",)),
        decides=False,
    )

    @property
    def integer(self) -> Integer | None:
        """The scheme of what the factors leave; None where nothing is kept of it."""
        if self.residual == "none":
            return None
        return Integer(
            bits=self.residual_bits, symmetric=False, group_size=self.group_size, indivisible=self.indivisible
        )

    @property
    def grouping(self) -> tuple[str, int] | None:
        return None if self.integer is None else ("group", self.group_size)

    @property
    def tag(self) -> str:
        size = f"rank {self.rank}" if self.criterion == "rank" else f"low rank {_percent(self.share)} %"
        size = f"{size} global" if self.allocated else size
        size = size if self.values == "dtype" else f"{size} int{self.bits}"
        return size if self.residual == "none" else f"{size} + int{self.residual_bits} g{self.group_size}"

    @property
    def allocated(self) -> bool:
        return self.criterion == "share" and self.scope == "global"

    def with_inner_width(self, width: int) -> LowRank:
        return settled(replace(self, criterion="rank", rank=width))

    @property
    def factored(self) -> bool:
        return self.residual == "none"

    def inner_width(self, rows: int, columns: int) -> int:
        if self.criterion == "rank":
            return self.rank
        # A share typed as 0.8 is meant exactly, which no binary number says.
        return math.floor(round(self.share * rows * columns, 6) / (rows + columns))

    @property
    def searched(self) -> bool:
        return True

    def fitted(self, layer: Layer) -> tuple[LowRank, tuple[str, ...]]:
        if self.allocated and self.integer is not None:
            raise _refused(
                layer,
                "ranks of all layers together are found for factors alone",
                "Count each layer by itself, or keep nothing beside the factors.",
            )
        taken = self
        notes: tuple[str, ...] = ()
        if self.integer is not None:
            integer, notes = self.integer.fitted(layer)
            taken = replace(self, group_size=integer.group_columns(layer.matrix_shape[1]))
        taken._refuse_unpaid(layer)
        return taken, notes

    def _refuse_unpaid(self, layer: Layer) -> None:
        rows, columns = layer.matrix_shape
        rank, most = self.inner_width(rows, columns), self.largest_inner_width(layer)
        if not most:
            raise _refused(layer, "no rank makes it smaller", "Leave it out: name it in the rule's 'ignore'.")
        if rank < 1:
            raise _refused(layer, f"a share of {self.share:g} leaves no rank", f"Ranks 1 to {most} make it smaller.")
        if rank > most:
            short = min(rows, columns)
            why = f"its rank is at most {short}" if rank > short else "the factors would not be smaller than the layer"
            raise _refused(layer, f"rank {rank} does not pay: {why}", f"The largest rank that does is {most}.")

    def largest_inner_width(self, layer: Layer) -> int:
        low, high = 0, min(layer.matrix_shape)
        while low < high:
            middle = (low + high + 1) // 2
            low, high = (middle, high) if self._bytes(layer, middle) < layer.dense_nbytes else (low, middle - 1)
        return low

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        return self._stored(layer, self.inner_width(*layer.matrix_shape))

    def _bytes(self, layer: Layer, rank: int) -> int:
        return sum(stored.nbytes for stored in self._stored(layer, rank))

    def _stored(self, layer: Layer, rank: int) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        rest = () if self.integer is None else self.integer.storage(layer)
        shapes = {"weight_left": (rows, rank), "weight_right": (rank, columns)}
        if self.values == "dtype":
            return (*(StoredTensor(name, layer.dtype, shape) for name, shape in shapes.items()), *rest)
        scales = "float32" if layer.dtype == "float64" else layer.dtype
        factors = tuple(
            stored
            for name, (down, across) in shapes.items()
            for stored in (
                StoredTensor(f"{name}_packed", "int32", (down, words(across, self.bits))),
                StoredTensor(f"{name}_scale", scales, (down, 1)),
            )
        )
        return (*factors, *rest)


def _percent(share: float) -> str:
    return f"{100 * share:.6g}"


def _refused(layer: Layer, why: str, remedy: str) -> RecipeError:
    return RecipeError(f"'{layer.name}' (shape {list(layer.shape)}): {why}", where=layer.name, remedy=remedy)
