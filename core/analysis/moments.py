"""Mean and central moments that can be merged, so that a tensor can be streamed without losing digits."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from benchvise.core.analysis.decoding import FloatArray, IntArray


@dataclass(frozen=True, slots=True)
class Moments:
    """Number of values, their mean, and the sums of the second to fourth powers of their distances from it."""

    count: int = 0
    mean: float = 0.0
    second: float = 0.0
    third: float = 0.0
    fourth: float = 0.0

    @property
    def deviation(self) -> float:
        """Standard deviation of the population (divided by n); NaN without values."""
        return math.sqrt(self.second / self.count) if self.count else math.nan

    @property
    def excess_kurtosis(self) -> float:
        """Fourth standardised moment − 3: 0 for a normal distribution; NaN for a constant or without values."""
        squared = self.second * self.second
        return self.count * self.fourth / squared - 3.0 if squared > 0 else math.nan

    def merged(self, other: Moments) -> Moments:
        """The moments of both sets of values together.

        Source: Chan, Golub, LeVeque 1979; Pébay 2008 (SAND2008-6212) for the third and fourth.
        """
        if not self.count or not other.count:
            return self if self.count else other
        a, b, n = self.count, other.count, self.count + other.count
        apart = other.mean - self.mean
        step = apart / n
        cross = apart * step * a * b
        return Moments(
            count=n,
            mean=self.mean + step * b,
            second=self.second + other.second + cross,
            third=self.third + other.third + cross * step * (a - b) + 3 * step * (a * other.second - b * self.second),
            fourth=self.fourth
            + other.fourth
            + cross * step * step * (a * a - a * b + b * b)
            + 6 * step * step * (a * a * other.second + b * b * self.second)
            + 4 * step * (a * other.third - b * self.third),
        )


def moments_of(values: FloatArray) -> Moments:
    """Moments of finite values [n], float64. Distances beyond 1e77 overflow to infinite or NaN moments."""
    if not values.size:
        return Moments()
    # Sums of products instead of `dot`: that one's rounding depends on the number of threads of the BLAS.
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(values.mean())
        apart = values - mean
        powers = apart * apart
        second = float(powers.sum())
        apart *= powers
        powers *= powers
        return Moments(values.size, mean, second, float(apart.sum()), float(powers.sum()))


def moments_of_counts(values: FloatArray, counts: IntArray) -> Moments:
    """Moments of values [n] that occur `counts` [n] times each; the mean is rounded once."""
    total = int(counts.sum())
    if not total:
        return Moments()
    mean = math.fsum(values * counts) / total
    apart = values - mean
    squares = apart * apart
    return Moments(
        count=total,
        mean=mean,
        second=float((squares * counts).sum()),
        third=float((squares * apart * counts).sum()),
        fourth=float((squares * squares * counts).sum()),
    )
