"""Exact quantiles: values by rank, from counts, or by radix selection over bit patterns that sort like the values."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchvise.core.analysis.decoding import FloatArray, IntArray
from benchvise.core.checkpoint.read import RawArray

DIGIT_BITS = 16
Keys = NDArray[Any]
"""uint32 or uint64 [n], sorting as values do."""

Digits = NDArray[np.uint16]


@dataclass(frozen=True, slots=True)
class Quantile:
    """A quantile as the values at two neighbouring ranks (from 0) and how far it lies towards the upper one."""

    lower: int
    upper: int
    share: float

    def between(self, low: float, high: float) -> float:
        """The quantile when the values at the two ranks are `low` and `high`, as `np.quantile` interpolates."""
        if self.share >= 0.5:
            return high - (high - low) * (1 - self.share)
        return low + (high - low) * self.share


def quantile_at(fraction: float, count: int) -> Quantile:
    """Where the quantile of `fraction` (0 … 1) lies among `count` > 0 sorted values, by linear interpolation."""
    place = fraction * (count - 1)
    lower = int(place)
    return Quantile(lower, min(lower + 1, count - 1), place - lower)


def quantiles_of_counts(values: FloatArray, counts: IntArray, fractions: Iterable[float]) -> list[float]:
    """Quantiles of ascending `values` [n > 0] that occur `counts` [n] times each."""
    ends = np.cumsum(counts)
    found = []
    for fraction in fractions:
        quantile = quantile_at(fraction, int(ends[-1]))
        low, high = values[np.searchsorted(ends, [quantile.lower, quantile.upper], side="right")]
        found.append(quantile.between(float(low), float(high)))
    return found


def sortable_keys(values: RawArray) -> Keys:
    """Unsigned integers of the same width that sort as the finite 32- or 64-bit `values` do (−0 before 0)."""
    bits = values.itemsize * 8
    top = 1 << (bits - 1)
    patterns: Keys = values.view(np.dtype(f"u{values.itemsize}"))
    if values.dtype.kind == "u":
        return patterns
    if values.dtype.kind == "i":
        return patterns ^ top
    # The arithmetic shift fills the whole word with the sign: negative values turn around, all of them.
    signs = values.view(np.dtype(f"i{values.itemsize}")) >> (bits - 1)
    turned: Keys = patterns ^ (signs.view(patterns.dtype) | top)
    return turned


def value_of_key(key: int, dtype: np.dtype[np.generic]) -> float:
    """The value whose sortable key is `key`, as float64."""
    bits = dtype.itemsize * 8
    top = 1 << (bits - 1)
    if dtype.kind == "i" or (dtype.kind == "f" and key >= top):
        key ^= top
    elif dtype.kind == "f":
        key ^= (1 << bits) - 1
    return float(np.array([key], f"u{dtype.itemsize}").view(dtype)[0])


@dataclass(frozen=True)
class Selection:
    """Ranks whose keys are known down to their upper `known` bits, out of `bits`.

    prefixes: those upper bits, one for each rank.
    ranks:    the rank among the keys that share the prefix.
    """

    bits: int
    known: int
    prefixes: tuple[int, ...]
    ranks: tuple[int, ...]

    @classmethod
    def start(cls, bits: int, ranks: Iterable[int] = ()) -> Selection:
        """Nothing known yet of the keys at `ranks`."""
        places = tuple(ranks)
        return cls(bits, 0, (0,) * len(places), places)

    @property
    def done(self) -> bool:
        return self.known == self.bits

    @property
    def targets(self) -> tuple[int, ...]:
        """The distinct prefixes, ascending: what to count the next digit of."""
        return tuple(sorted(set(self.prefixes))) if self.known else (0,)

    def digits(self, keys: Keys) -> list[Digits]:
        """The next 16 bits of those `keys` that begin with each of the targets."""
        following = (keys >> (self.bits - self.known - DIGIT_BITS)).astype(np.uint16)
        if self.known == 0:
            return [following]
        heads = keys >> (self.bits - self.known)
        return [following[heads == target] for target in self.targets]

    def refined(self, counts: IntArray) -> Selection:
        """Sixteen bits more are known, from the `counts` [targets, 65536] of the next digit."""
        ends = dict(zip(self.targets, np.cumsum(counts, axis=1), strict=True))
        prefixes, ranks = [], []
        for prefix, rank in zip(self.prefixes, self.ranks, strict=True):
            digit = int(np.searchsorted(ends[prefix], rank, side="right"))
            before = int(ends[prefix][digit - 1]) if digit else 0
            prefixes.append(prefix << DIGIT_BITS | digit)
            ranks.append(rank - before)
        return Selection(self.bits, self.known + DIGIT_BITS, tuple(prefixes), tuple(ranks))
