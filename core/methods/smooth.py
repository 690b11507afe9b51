"""Smoothing: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.transform import Transform
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Smooth(Transform):
    """Outlier channels of a layer's inputs become smaller and the weights that read them larger.

    Meant for inputs in 8 bits. Undone where the rounding error of what the layers give does not fall by 1 %.
    """

    key: ClassVar[str] = "smooth"
    title: ClassVar[str] = "Smoothing (SmoothQuant)"
    summary: ClassVar[str] = "Move outliers from a layer's inputs into its weights, for inputs in 8 bits."
    source: ClassVar[str] = "SmoothQuant, arXiv 2211.10438, section 4"
    reach: ClassVar[Literal["network", "block"]] = "block"

    alpha: float = setting(
        0.5,
        title="Strength α",
        help="How much of the difficulty moves from the inputs to the weights: 0 leaves it to the inputs.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.25, 0.5, 0.75),
    )
