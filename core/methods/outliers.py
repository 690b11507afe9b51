"""Integer codes beside a few input channels in 16 bits: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Outliers(Scheme):
    """An integer grid for all columns but a few, which are zero there and kept aside.

    The columns kept are those of the largest single weight or, where the solver knows the inputs, of the largest mean
    square of the input times Σw². They are stored in the layer's dtype, those of float32 and float64 layers in float16,
    where magnitudes above 65504 become 65504.
    """

    key: ClassVar[str] = "outliers"
    title: ClassVar[str] = "Integer with outlier channels"
    summary: ClassVar[str] = "Integer codes, with the few input channels that need it most kept in 16 bits."
    source: ClassVar[str] = (
        "Dettmers et al., arXiv 2208.07339, section 3.2; Lee et al. (OWQ), arXiv 2306.02272, section 3"
    )
    fallback: ClassVar[str] = "divisor"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("int{bits}"),
        word("tensor", granularity="tensor"),
        word("channel", granularity="channel"),
        word("g{group_size}", granularity="group"),
        word("asym", symmetric=False),
        Phrase("+{fraction%}% 16-bit", required=True),
    )

    bits: int = setting(
        4, title="Bits", help="Bits per code. Fewer is smaller and coarser.", unit="bit", minimum=2, maximum=8
    )
    fraction: float = setting(
        0.01,
        title="Outlier channels",
        help="The fraction of the input channels that is kept in 16 bits; at least one channel.",
        minimum=0.0001,
        maximum=0.5,
        suggestions=(0.005, 0.01, 0.02, 0.05),
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
        title="When the group size does not divide",
        help="Refuse the plan, or take a group as integers do: the longest shorter one that divides the layer's inputs "
        "and that kernels take; the plan lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Divisor that kernels take"},
        when=("granularity", ("group",)),
        decides=False,
    )

    @property
    def integer(self) -> Integer:
        """The scheme of the columns that are not kept."""
        return Integer(
            bits=self.bits,
            symmetric=self.symmetric,
            granularity=self.granularity,
            group_size=self.group_size,
            indivisible=self.indivisible,
        )

    @property
    def tag(self) -> str:
        percent = f"{Decimal(str(self.fraction)) * 100:f}"
        percent = percent.rstrip("0").rstrip(".") if "." in percent else percent
        return f"{self.integer.tag} +{percent}% 16-bit"

    def kept_columns(self, columns: int) -> int:
        """How many of `columns` input channels are kept."""
        return min(columns, max(1, round(self.fraction * columns)))

    @property
    def grouping(self) -> tuple[str, int] | None:
        return self.granularity, self.group_size

    def fitted(self, layer: Layer) -> tuple[Outliers, tuple[str, ...]]:
        taken, notes = self.integer.fitted(layer)
        granularity = "channel" if taken.granularity == "channel" else self.granularity
        grouping = replace(self, granularity=granularity, group_size=taken.group_size)
        return replace(grouping, indivisible=taken.indivisible), notes

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        rows, columns = layer.matrix_shape
        kept = self.kept_columns(columns)
        dtype = layer.dtype if layer.dtype in ("float16", "bfloat16") else "float16"
        return (
            *self.integer.storage(layer),
            StoredTensor("outlier_columns", "int32", (kept,)),
            StoredTensor("outlier_values", dtype, (rows, kept)),
        )
