"""Magnitudes counted by their leading bits: a histogram that needs no range and never grows."""

from __future__ import annotations

import math

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

MANTISSA_BITS = 11
EVEN_BINS = 2048

_DROPPED = 23 - MANTISSA_BITS
_BINS = 1 << (8 + MANTISSA_BITS)
_SLICE = 1 << 22


class Magnitudes:
    """Exact counts of |x| in bins [v, v·(1 + 2⁻¹¹)): the float32 pattern without its last 12 bits is a bin's number.

    greatest: the largest magnitude, exact.
    """

    def __init__(self) -> None:
        self.greatest = 0.0
        self._counts = np.zeros(_BINS, np.int64)

    def add(self, x: Tensor, greatest: float) -> None:
        """Count finite values of any shape, of which the largest magnitude is `greatest`."""
        self.greatest = max(self.greatest, greatest)
        for part in torch.split(x.reshape(-1), _SLICE):
            pattern = part.float().abs().view(torch.int32) >> _DROPPED
            counts = torch.bincount(pattern).cpu().numpy()
            self._counts[: len(counts)] += counts

    def filled(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Counts and middles, float64 [bins] each, of the bins that hold anything, ascending; 0's bin stands for 0."""
        bins = np.flatnonzero(self._counts)
        middles = np.minimum((_edge(bins) + _edge(bins + 1)) / 2, self.greatest)
        return self._counts[bins].astype(np.float64), np.where(bins == 0, 0.0, middles)

    def quantile(self, fraction: float) -> float:
        """The upper edge of the bin in which `fraction` of all is reached, no more than the largest magnitude."""
        total = np.cumsum(self._counts)
        wanted = max(1, math.ceil(round(fraction * int(total[-1]), 6)))
        where = int(np.searchsorted(total, wanted))
        return 0.0 if where == 0 else min(float(_edge(np.array([where + 1]))[0]), self.greatest)

    def even_histogram(self) -> NDArray[np.float64]:
        """Counts, float64 [EVEN_BINS], in bins of equal width from 0 to the largest magnitude, which must not be zero.

        The counts of the bins here are taken to lie evenly within each.
        """
        bins = np.flatnonzero(self._counts)
        below = np.minimum(_edge(bins), self.greatest)
        above = np.minimum(_edge(bins + 1), self.greatest)
        counts = self._counts[bins].astype(np.float64)
        before = np.cumsum(counts) - counts
        edges = np.linspace(0.0, self.greatest, EVEN_BINS + 1)
        known = np.stack([below, above], 1).reshape(-1)
        total = np.stack([before, before + counts], 1).reshape(-1)
        found: NDArray[np.float64] = np.diff(np.interp(edges, known, total, left=0.0))
        return found


def _edge(bins: NDArray[np.int64]) -> NDArray[np.float64]:
    """The lower edges of bins, the last of them infinity's."""
    edges: NDArray[np.float64] = (bins.astype(np.int32) << _DROPPED).view(np.float32).astype(np.float64)
    return edges
