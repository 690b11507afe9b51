"""Magnitude pruning: settings and storage."""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
from typing import ClassVar, Literal

from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Sparse(Scheme):
    """The weights of least magnitude become zero; the matrix stays dense on disk, so its bytes do not change."""

    key: ClassVar[str] = "sparse"
    title: ClassVar[str] = "Sparse"
    summary: ClassVar[str] = (
        "Set the weights of least magnitude to zero. The file keeps its size: no runtime reads less."
    )
    source: ClassVar[str] = "Han et al., arXiv 1506.02626, section 3"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("{fraction%}% zeros", criterion="fraction"),
        head("|w|≤{threshold} → 0", criterion="threshold"),
        head("|w|≤{threshold}", criterion="threshold"),
        word("global", scope="global"),
    )

    criterion: Literal["fraction", "threshold"] = setting(
        "fraction",
        title="Prune by",
        help="A fraction of the weights, or all weights at or below a threshold.",
        choices={"fraction": "Fraction", "threshold": "Threshold"},
    )
    fraction: float = setting(
        0.5,
        title="Fraction of zeros",
        help="How many of the weights become zero; those of least magnitude go first.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.3, 0.5, 0.7, 0.9),
        when=("criterion", ("fraction",)),
    )
    scope: Literal["layer", "global"] = setting(
        "layer",
        title="Counted over",
        help="Each layer by itself, or all layers of the rule together with one threshold for all.",
        choices={"layer": "Each layer", "global": "All layers of the rule"},
        when=("criterion", ("fraction",)),
    )
    threshold: float = setting(
        0.01,
        title="Threshold",
        help="Weights whose magnitude is at or below this become zero.",
        minimum=0.0,
        when=("criterion", ("threshold",)),
    )

    @property
    def tag(self) -> str:
        if self.criterion == "threshold":
            return f"|w|≤{self.threshold} → 0"
        percent = f"{Decimal(str(self.fraction)) * 100:f}"
        percent = percent.rstrip("0").rstrip(".") if "." in percent else percent
        return f"{percent} % zeros" + (" global" if self.shared else "")

    @property
    def shared(self) -> bool:
        return self.criterion == "fraction" and self.scope == "global"

    def storage(self, layer: Layer) -> tuple[StoredTensor, ...]:
        return (StoredTensor("weight", layer.dtype, layer.matrix_shape),)
