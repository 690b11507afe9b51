"""Sparsity: settings, which weights are counted together, and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.errors import RecipeError
from benchvise.core.methods.grouping import ALL, cells, divisors, words
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting

_BYTE = 8


@dataclass(frozen=True)
class Sparse(Scheme):
    """Weights become zero: a fraction, all up to a threshold, or all but n of every m neighbours in a row.

    The unit that stays or goes is a weight, or a cell of rows by columns. Stored dense the bytes do not change; stored
    as a mask with the values that stay, or their places within every m, they are counted exactly.
    """

    key: ClassVar[str] = "sparse"
    title: ClassVar[str] = "Sparse"
    summary: ClassVar[str] = (
        "Set weights to zero: any, n of every m, or whole cells. Only what is stored gets less: no runtime reads less."
    )
    source: ClassVar[str] = (
        "Han et al., arXiv 1506.02626, section 3; Wanda, arXiv 2306.11695; OBS as in SparseGPT, arXiv 2301.00774"
    )
    capabilities: ClassVar[frozenset[str]] = frozenset({"mask"})
    fallback: ClassVar[str] = "divisor"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("{fraction%}% zeros", criterion="fraction"),
        head("|w|≤{threshold} → 0", criterion="threshold"),
        head("|w|≤{threshold}", criterion="threshold"),
        head("{kept} of {of}", criterion="n_of_m"),
        word("cells {block_rows}×{block_columns}", pattern="block"),
        word("whole rows", pattern="rows"),
        word("whole columns", pattern="columns"),
        word("global", scope="global"),
        word("per row", scope="row"),
        word("wanda", score="inputs"),
        word("obs", score="obs"),
        word("bitmask", storage_form="bitmask"),
        word("indices", storage_form="indices"),
        word("int{bits}", values="integer"),
        word("g{group_size}"),
    )

    criterion: Literal["fraction", "threshold", "n_of_m"] = setting(
        "fraction",
        title="Prune by",
        help="A fraction of the weights, all weights at or below a threshold, or all but n of every m neighbours.",
        choices={"fraction": "Fraction", "threshold": "Threshold", "n_of_m": "n of every m"},
    )
    fraction: float = setting(
        0.5,
        title="Fraction of zeros",
        help="How many of the weights become zero; those of the lowest score go first.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.3, 0.5, 0.7, 0.9),
        when=("criterion", ("fraction",)),
    )
    kept: int = setting(
        2,
        title="Kept",
        help="How many of every m neighbours in a row stay.",
        unit="weights",
        minimum=1,
        maximum=255,
        suggestions=(1, 2, 4),
        when=("criterion", ("n_of_m",)),
    )
    of: int = setting(
        4,
        title="Of every",
        help="How many neighbours in a row are counted together; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=256,
        suggestions=(4, 8, 16),
        when=("criterion", ("n_of_m",)),
    )
    pattern: Literal["single", "block", "rows", "columns"] = setting(
        "single",
        title="Unit",
        help="What stays or goes as one: single weights, cells of rows by columns, whole rows, or whole columns.",
        choices={"single": "Single weights", "block": "Cells", "rows": "Whole rows", "columns": "Whole columns"},
        when=("criterion", ("fraction",)),
    )
    block_rows: int = setting(
        4,
        title="Cell rows",
        help="Rows of a cell; must divide the layer's outputs.",
        unit="rows",
        minimum=1,
        maximum=1 << 20,
        suggestions=(1, 4, 16),
        when=("pattern", ("block",)),
    )
    block_columns: int = setting(
        4,
        title="Cell columns",
        help="Columns of a cell; must divide the layer's inputs.",
        unit="columns",
        minimum=1,
        maximum=1 << 20,
        suggestions=(4, 16),
        when=("pattern", ("block",)),
    )
    scope: Literal["layer", "row", "global"] = setting(
        "layer",
        title="Counted over",
        help="Each layer by itself, each row by itself, or all layers of the rule together with one threshold for all.",
        choices={"layer": "Each layer", "row": "Each row", "global": "All layers of the rule"},
        when=("pattern", ("single",)),
    )
    threshold: float = setting(
        0.01,
        title="Threshold",
        help="Weights whose magnitude is at or below this become zero.",
        minimum=0.0,
        when=("criterion", ("threshold",)),
    )
    score: Literal["magnitude", "inputs", "obs"] = setting(
        "magnitude",
        title="Score",
        help="What decides which weights go: their magnitude; that times the size of their inputs (Wanda); or what the "
        "layer's output would lose (OBS). All but the first take calibration text.",
        choices={"magnitude": "Magnitude", "inputs": "Magnitude × inputs", "obs": "Loss at the output"},
        when=("criterion", ("fraction", "n_of_m")),
    )
    storage_form: Literal["dense", "bitmask", "indices"] = setting(
        "dense",
        title="Stored as",
        help="Dense; a bit for each weight and the values that stay; or their places within every m and the values.",
        choices={"dense": "Dense", "bitmask": "Bit mask and values", "indices": "Indices and values"},
        when=("criterion", ("fraction", "n_of_m")),
    )
    values: Literal["dtype", "integer"] = setting(
        "dtype",
        title="Values that stay",
        help="In the layer's own dtype, or as symmetric integers with a scale for each group of inputs.",
        choices={"dtype": "In the layer's dtype", "integer": "Integers"},
        when=("storage_form", ("bitmask", "indices")),
    )
    bits: int = setting(
        4,
        title="Bits",
        help="Bits of each value that stays.",
        unit="bit",
        minimum=2,
        maximum=8,
        when=("values", ("integer",)),
    )
    group_size: int = setting(
        128,
        title="Group size",
        help="Neighbours in a row that share a scale, zeros among them; must divide the layer's inputs.",
        unit="weights",
        minimum=2,
        maximum=1 << 20,
        suggestions=(32, 64, 128, 256),
        when=("values", ("integer",)),
    )
    indivisible: Literal["refuse", "divisor"] = setting(
        "refuse",
        title="When the group size does not divide",
        help="Refuse the plan, or take the divisor of the layer's inputs that is nearest to the group size; the plan "
        "lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Nearest divisor"},
        when=("values", ("integer",)),
        decides=False,
    )

    @property
    def tag(self) -> str:
        if self.criterion == "threshold":
            return f"|w|≤{self.threshold} → 0"
        parts = [f"{self.kept} of {self.of}" if self.criterion == "n_of_m" else f"{_percent(self.fraction)} % zeros"]
        if self.criterion == "fraction":
            cell = f"cells {self.block_rows}×{self.block_columns}"
            units = {"rows": "whole rows", "columns": "whole columns", "single": _SCOPES[self.scope], "block": cell}
            parts.append(units[self.pattern])
        parts += [_SCORES[self.score], "" if self.storage_form == "dense" else self.storage_form]
        if self.integer is not None:
            parts.append(f"int{self.bits} g{self.group_size}")
        return " ".join(part for part in parts if part)

    @property
    def shared(self) -> bool:
        return self.criterion == "fraction" and self.pattern == "single" and self.scope == "global"

    @property
    def weighs(self) -> bool:
        return self.criterion != "threshold" and self.score != "magnitude"

    @property
    def searched(self) -> bool:
        return self.integer is not None

    @property
    def integer(self) -> Integer | None:
        """The scheme of the values that stay, where they are rounded."""
        if self.storage_form == "dense" or self.values == "dtype":
            return None
        return Integer(bits=self.bits, group_size=self.group_size, indivisible=self.indivisible)

    @property
    def grouping(self) -> tuple[str, int] | None:
        return None if self.integer is None else ("group", self.group_size)

    def cell(self) -> tuple[int, int]:
        """Rows and columns of what stays or goes as one."""
        if self.criterion != "fraction":
            return 1, 1
        shapes = {
            "single": (1, 1),
            "block": (self.block_rows, self.block_columns),
            "rows": (1, ALL),
            "columns": (ALL, 1),
        }
        return shapes[self.pattern]

    def kept_weights(self, rows: int, columns: int) -> int:
        """How many weights of a matrix [rows, columns] stay. Raises ValueError where only a run can tell."""
        if self.criterion == "threshold" or self.shared:
            raise ValueError("a threshold keeps as many weights as lie above it")
        if self.criterion == "n_of_m":
            return rows * (columns // self.of) * self.kept
        if self.pattern == "single" and self.scope == "row":
            return rows * (columns - round(self.fraction * columns))
        down, across = cells((rows, columns), self.cell())
        left = down * across - round(self.fraction * down * across)
        return left * (rows // down) * (columns // across)

    def fitted(self, layer: Layer) -> tuple[Sparse, tuple[str, ...]]:
        rows, columns = layer.matrix_shape
        if self.criterion == "n_of_m":
            self._refuse_uneven(layer, columns)
        tall, wide = self.cell()
        if (tall != ALL and rows % tall) or (wide != ALL and columns % wide):
            raise _refused(layer, f"cells of {tall} × {wide} do not divide it", "Choose cells that divide both.")
        if self.shared and (self.weighs or self.storage_form != "dense"):
            raise _refused(
                layer,
                "one threshold over all layers goes by magnitude, and only the run tells how many weights stay",
                "Take the score 'magnitude' and the form 'dense', or count each layer by itself.",
            )
        if self.storage_form == "indices" and self.criterion != "n_of_m":
            raise _refused(layer, "indices are places within every m", "Prune by 'n_of_m', or store a 'bitmask'.")
        if self.integer is None:
            return self, ()
        taken, notes = self.integer.fitted(layer)
        return replace(self, group_size=taken.group_columns(columns)), notes

    def _refuse_uneven(self, layer: Layer, columns: int) -> None:
        if self.kept >= self.of:
            raise _refused(layer, f"{self.kept} of {self.of} leaves nothing to prune", "Keep fewer than there are.")
        if columns % self.of:
            sizes = ", ".join(str(size) for size in divisors(columns) if size <= 32)
            raise _refused(
                layer, f"{self.of} does not divide its {columns} inputs", f"Sizes that do: {sizes or 'none up to 32'}."
            )

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        if self.criterion == "threshold" or self.storage_form == "dense":
            return (StoredTensor("weight", layer.dtype, layer.matrix_shape),)
        kept = self.kept_weights(rows, columns)
        places = self._places(rows, columns, kept)
        if self.integer is None:
            return places, StoredTensor("weight_values", layer.dtype, (kept,))
        scale = next(one for one in self.integer.storage(layer) if one.name == "weight_scale")
        return places, StoredTensor("weight_codes", "int32", (1, words(kept, self.bits))), scale

    def _places(self, rows: int, columns: int, kept: int) -> StoredTensor:
        if self.storage_form == "indices":
            return StoredTensor("weight_indices", "int32", (1, words(kept, self.index_bits)))
        down, across = cells((rows, columns), self.cell())
        return StoredTensor("weight_mask", "uint8", (down, -(-across // _BYTE)))

    @property
    def index_bits(self) -> int:
        """Bits of a place within every m."""
        return (self.of - 1).bit_length()


_SCOPES = {"layer": "", "row": "per row", "global": "global"}
_SCORES = {"magnitude": "", "inputs": "wanda", "obs": "obs"}


def _percent(fraction: float) -> str:
    percent = f"{Decimal(str(fraction)) * 100:f}"
    return percent.rstrip("0").rstrip(".") if "." in percent else percent


def _refused(layer: Layer, why: str, remedy: str) -> RecipeError:
    return RecipeError(f"'{layer.name}' (shape {list(layer.shape)}): {why}", where=layer.name, remedy=remedy)
