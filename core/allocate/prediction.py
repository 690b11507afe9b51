"""From the KL increases of single layers to the KL of all of them together, and how sure that is."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchvise.core.allocate.problem import Floats
from benchvise.core.protocol.results import Estimate, JointMeasurement
from benchvise.core.workspace.sensitivities import METHODS, MeasuredChoice, SensitivityFile

MIN_POINTS = 3
UNCORRECTED = 1.6
"""Without a correction pass, added KL increases are off by up to about this factor, either way."""
MIN_SPREAD = 0.08
_MIN_SLOPE, _MAX_SLOPE = 0.6, 1.6


@dataclass(frozen=True)
class Prediction:
    """KL ≈ exp(offset) · added^slope, within a factor of exp(±spread)."""

    offset: float = 0.0
    slope: float = 1.0
    spread: float = math.log(UNCORRECTED)

    def of(self, added: float) -> Estimate:
        """The KL for KL increases that add up to `added`."""
        if added <= 0 or not math.isfinite(added):
            return Estimate(added, added, added)
        value = math.exp(self.offset + self.slope * math.log(added))
        return Estimate(value, value * math.exp(-self.spread), value * math.exp(self.spread))

    def values(self, added: Floats) -> Floats:
        """The KL for each of several sums, float64 [sums], without ranges."""
        with np.errstate(divide="ignore"):
            return np.where(added > 0, np.exp(self.offset + self.slope * np.log(np.maximum(added, 0.0))), 0.0)

    def added_for(self, kl: float) -> float:
        """What KL increases may add up to for a KL of `kl`."""
        return math.exp((math.log(kl) - self.offset) / self.slope) if kl > 0 else 0.0


def fit(points: Sequence[JointMeasurement]) -> Prediction:
    """The line through what was measured together, in logarithms: least squares, and half of a hundredfold range in
    the sums before its slope may leave 1. The spread is twice the root mean square of leaving each point out in turn.
    """
    used = [(math.log(p.added), math.log(p.measured)) for p in points if 0 < p.added < math.inf and p.measured > 0]
    if len(used) < MIN_POINTS:
        return Prediction()
    x, y = (np.array(values) for values in zip(*used, strict=True))
    offset, slope = _line(x, y)
    left_out = []
    for index in range(len(x)):
        rest = np.arange(len(x)) != index
        a, b = _line(x[rest], y[rest])
        left_out.append(y[index] - a - b * x[index])
    spread = 2.0 * math.sqrt(float(np.mean(np.square(left_out))))
    return Prediction(offset, slope, max(spread, MIN_SPREAD))


def joint_effects_of(kl_increases: SensitivityFile, measured: Sequence[MeasuredChoice]) -> tuple[JointMeasurement, ...]:
    """What was measured together, beside the sums of the single KL increases as they are known now."""
    return tuple(
        JointMeasurement(added, each.kl)
        for each in measured
        if math.isfinite(added := _added(kl_increases, each)) and added > 0
    )


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> float:
    """Spearman's: the correlation of ranks, equal values sharing theirs. 0 where one side does not vary."""
    ranks = [_ranks(np.array(values, np.float64)) for values in zip(*pairs, strict=True)]
    one, other = (rank - rank.mean() for rank in ranks)
    norm = math.sqrt(float((one**2).sum()) * float((other**2).sum()))
    return float((one * other).sum()) / norm if norm > 0 else 0.0


def _ranks(values: np.ndarray) -> np.ndarray:
    _, place, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    return (ends - (counts - 1) / 2)[place]


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    """(offset, slope); a weak prior holds the slope near 1 where the points lie close together."""
    prior = (0.5 * math.log(100) / 2) ** 2 / 10
    centre_x, centre_y = float(x.mean()), float(y.mean())
    dx, dy = x - centre_x, y - centre_y
    slope = (float((dx * dy).sum()) + prior) / (float((dx * dx).sum()) + prior)
    slope = min(max(slope, _MIN_SLOPE), _MAX_SLOPE)
    return centre_y - slope * centre_x, slope


def _added(kl_increases: SensitivityFile, measured: MeasuredChoice) -> float:
    total = 0.0
    for layer, treatment in measured.choice.items():
        found = next((d for m in METHODS if (d := kl_increases.get(layer, treatment, m)) is not None), None)
        if found is None:
            return math.nan
        total += found.kl
    return total
