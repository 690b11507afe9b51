"""Norm folding: settings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.transform import Transform


@dataclass(frozen=True)
class Fold(Transform):
    """Gains of norms, and their biases where the next layer has one, move into the layers that read them."""

    key: ClassVar[str] = "fold"
    title: ClassVar[str] = "Norm folding"
    summary: ClassVar[str] = (
        "Multiply the gain of every norm into the weights that read it; the norm keeps a gain of 1."
    )
    source: ClassVar[str] = "SliceGPT, arXiv 2401.15024, section 3.1; QuaRot, arXiv 2404.00456, section 3"
    reach: ClassVar[Literal["network", "block"]] = "network"
