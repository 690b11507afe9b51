"""The arithmetic of non-linear grids."""

from __future__ import annotations

import math
from functools import lru_cache
from itertools import pairwise

import torch

from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.element import Levels
from benchvise.core.schemes.integer_grid import scale_dtype
from benchvise.core.schemes.level_table import LevelTable, midpoints
from benchvise.core.schemes.scale_rule import PowerOfTwoScale, RealScale, ScaleRule
from benchvise.core.schemes.scaled import ScaledArithmetic

_RATIO = 1.12
_COARSE = tuple(_RATIO**power for power in sorted(range(-20, 4), key=abs))
"""Where the outermost level may lie, as a fraction of the largest magnitude: 1 first, then from 1.4 down to 0.1."""

_FINE = tuple(_RATIO ** (quarter / 4) for quarter in (1, -1, 2, -2, 3, -3))
_MIN_FLOAT = 2.0**-149
_WINDOW_OFFSETS = (0, 1, -1, -2, -3)


class NonLinearArithmetic(ScaledArithmetic[NonLinear]):
    """The scale of each cell is that of least squared error on a coarse grid, then on a fine one around the best.

    That includes what a clip search would try, which therefore adds nothing but its importance. Powers of two are few,
    so that one round tries them all.
    """

    scheme = NonLinear

    @classmethod
    def element(cls, settings: NonLinear) -> Levels:
        return _levels(settings.curve, settings.bits, settings.half_steps, settings.rounding)

    @classmethod
    def rule(cls, settings: NonLinear, dtype: torch.dtype, clip: ClipSearch | None) -> ScaleRule:  # noqa: ARG003
        largest = cls.element(settings).largest
        if settings.curve == "logarithmic":
            return PowerOfTwoScale(dtype, largest, 0, _WINDOW_OFFSETS)
        return RealScale(scale_dtype(dtype), dtype, largest, factors=_COARSE, refine=_FINE, smallest=True)

    @classmethod
    def cell(cls, settings: NonLinear) -> tuple[int, int]:
        return settings.cell

    @classmethod
    def tuned(cls, settings: NonLinear) -> str:
        return "" if settings.curve == "logarithmic" else "weight_scale"


@lru_cache(maxsize=64)
def _levels(curve: str, bits: int, half_steps: bool, rounding: str) -> Levels:
    levels, between = _logarithmic(bits, half_steps) if curve == "logarithmic" else _tanh(bits, curve == "sigmoid")
    thresholds = between if rounding == "curve" else midpoints(levels)
    # Zero is a tie between the two levels around it: it goes up, as round((tanh(0) + 1) / 2 · (2ᵇ − 1)) to even does.
    thresholds[len(thresholds) // 2] = -_MIN_FLOAT
    return Levels(LevelTable(levels, thresholds), bits)


def _tanh(bits: int, sigmoid: bool) -> tuple[list[float], list[float]]:
    """Levels atanh(2q / n − 1), and the thresholds atanh((2q + 1) / n − 1) between them, n = 2^bits − 1.

    logit(p) = 2 atanh(2p − 1), so that the sigmoid's are twice as large.
    """
    last, times = (1 << bits) - 1, 2.0 if sigmoid else 1.0
    end = 1 - 0.5 / last
    levels = [times * math.atanh(max(-end, min(end, 2 * code / last - 1))) for code in range(last + 1)]
    return levels, [times * math.atanh((2 * code + 1) / last - 1) for code in range(last)]


def _logarithmic(bits: int, half_steps: bool) -> tuple[list[float], list[float]]:
    """Levels ±2^(−step · j), and the thresholds half a step of the exponent between them."""
    step = 0.5 if half_steps else 1.0
    positive = [2.0 ** (-step * j) for j in reversed(range(1 << (bits - 1)))]
    above = [math.sqrt(low * high) for low, high in pairwise(positive)]
    return [*(-level for level in reversed(positive)), *positive], [*(-bound for bound in reversed(above)), 0.0, *above]
