"""What several answers are made of."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Floats32 = NDArray[np.float32]
Counts = NDArray[np.int64]


DEFAULT_CONTEXT = 32
"""Tokens before the one that is decoded, where the request names no other context, in measurements and forecasts."""


@dataclass(frozen=True)
class Estimate:
    """A forecast: ≈ value, and the range it is expected in."""

    value: float
    low: float
    high: float
