"""Activation-aware scaling: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.transform import Transform
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Scale(Transform):
    """Weights that read large inputs are scaled up before rounding, and what gives these inputs down.

    Undone where the rounding error of what the layers give does not fall by 1 %.
    """

    key: ClassVar[str] = "scale"
    title: ClassVar[str] = "Activation-aware scaling (AWQ)"
    summary: ClassVar[str] = "Scale weights by the size of their inputs, by the power that rounds best."
    source: ClassVar[str] = "AWQ, arXiv 2306.00978, section 3.2"
    reach: ClassVar[Literal["network", "block"]] = "block"

    steps: int = setting(
        20,
        title="Steps",
        help="How many powers α between 0 and 1 are tried; no scaling is always among them.",
        minimum=2,
        maximum=200,
    )
    weights: bool = setting(
        True,
        title="Look at weights too",
        help="Also try scales divided by the mean size of the weights to the power 1 − α.",
    )
