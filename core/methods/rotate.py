"""Rotation: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.transform import Transform
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Rotate(Transform):
    """Orthogonal matrices folded into neighbouring weights: no work is added to the running model.

    Norms are folded first where the residual stream is turned. What a model does not allow is left out and told.
    """

    key: ClassVar[str] = "rotate"
    title: ClassVar[str] = "Rotation"
    summary: ClassVar[str] = "Turn the hidden state by a Hadamard matrix folded into the weights: outliers spread out."
    source: ClassVar[str] = "QuaRot, arXiv 2404.00456, section 4; SpinQuant, arXiv 2405.16406, section 3 (R1 and R2)"
    reach: ClassVar[Literal["network", "block"]] = "network"

    residual: bool = setting(
        True,
        title="Residual stream",
        help="Turn what runs from block to block. Not possible with norms after the blocks, or with a head tied to the "
        "embedding behind a norm whose gain is not constant.",
    )
    heads: bool = setting(
        True,
        title="Heads",
        help="Turn the values within each attention head.",
    )
