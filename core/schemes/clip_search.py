"""What a solver asks of the fit of a scale."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class ClipSearch:
    """Shrink factors to try on a scale: `steps` values evenly from `least` to 1."""

    steps: int
    least: float
