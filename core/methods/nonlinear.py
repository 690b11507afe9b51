"""Non-linear grids of 2 to 8 bits: settings and exact storage."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.grouping import ALL, cells, fit_group, words
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting, settled


@dataclass(frozen=True)
class NonLinear(Scheme):
    """Codes evenly spaced under a curve, with a scale per tensor, row or group.

    tanh         ŵ = s · atanh(2q / (2ᵇ − 1) − 1); the end codes, where atanh is infinite, stand for ±(1 − ½ / (2ᵇ − 1))
    sigmoid      the same grid, ŵ = s' · logit(q / (2ᵇ − 1)), where s = 2s'
    logarithmic  ŵ = ±2ᵏ, 2ᵇ⁻¹ exponents k in whole or half steps down from one per tensor, row or group
    """

    key: ClassVar[str] = "nonlinear"
    title: ClassVar[str] = "Non-linear"
    summary: ClassVar[str] = "Levels close together near zero and wide apart far from it: tanh, sigmoid or logarithm."
    source: ClassVar[str] = "Tanh: Zhou et al., arXiv 1606.06160, section 2.3; logarithm: Miyashita et al., 1603.01025"
    fallback: ClassVar[str] = "divisor"
    capabilities: ClassVar[frozenset[str]] = frozenset({"scale"})
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("tanh{bits}", curve="tanh"),
        head("sigmoid{bits}", curve="sigmoid"),
        head("log{bits}", curve="logarithmic"),
        word("half", half_steps=True),
        word("tensor", granularity="tensor"),
        word("channel", granularity="channel"),
        word("g{group_size}", granularity="group"),
        word("curve", rounding="curve"),
    )

    curve: Literal["tanh", "sigmoid", "logarithmic"] = setting(
        "tanh",
        title="Curve",
        help="Which curve turns weights into evenly spaced codes. Logarithmic codes are powers of two.",
        choices={"tanh": "Hyperbolic tangent", "sigmoid": "Sigmoid", "logarithmic": "Logarithm"},
    )
    bits: int = setting(
        4, title="Bits", help="Bits per code. Fewer is smaller and coarser.", unit="bit", minimum=2, maximum=8
    )
    half_steps: bool = setting(
        False,
        title="Half steps",
        help="One bit of the exponent counts halves: levels are √2 apart instead of 2, and reach half as far down.",
        when=("curve", ("logarithmic",)),
    )
    rounding: Literal["nearest", "curve"] = setting(
        "nearest",
        title="Rounding",
        help="To the nearest level, which errs least, or evenly under the curve, as the formula of the method says.",
        choices={"nearest": "Nearest level", "curve": "Under the curve"},
    )
    granularity: Literal["tensor", "channel", "group"] = setting(
        "group",
        title="Granularity",
        help="How many weights share a scale.",
        choices={"tensor": "Whole tensor", "channel": "Output channel", "group": "Group along the inputs"},
    )
    group_size: int = setting(
        64,
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
        help="Refuse the plan, or take the divisor of the layer's inputs that is nearest to the group size; the plan "
        "lists each layer where it did.",
        choices={"refuse": "Refuse", "divisor": "Nearest divisor"},
        when=("granularity", ("group",)),
        decides=False,
    )

    @property
    def tag(self) -> str:
        curve = "log" if self.curve == "logarithmic" else self.curve
        where = f"g{self.group_size}" if self.granularity == "group" else self.granularity
        half, rounding = " half" if self.half_steps else "", " curve" if self.rounding == "curve" else ""
        return f"{curve}{self.bits}{half} {where}{rounding}"

    @property
    def searched(self) -> bool:
        return True

    @property
    def cell(self) -> tuple[int, int]:
        """Rows and columns that share a scale."""
        return {"tensor": (ALL, ALL), "channel": (1, ALL), "group": (1, self.group_size)}[self.granularity]

    @property
    def grouping(self) -> tuple[str, int] | None:
        return self.granularity, self.group_size

    def fitted(self, layer: Layer) -> tuple[NonLinear, tuple[str, ...]]:
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
        real = "float32" if layer.dtype == "float64" else layer.dtype
        scale = "float8_e8m0fnu" if self.curve == "logarithmic" else real
        return (
            StoredTensor("weight_packed", "int32", (rows, words(columns, self.bits))),
            StoredTensor("weight_scale", scale, cells((rows, columns), self.cell)),
        )
