"""Levels in one dimension for many units at once: quantiles, and k-means with or without weights.

A unit is whatever shares a table: a group, a row, a tensor. Everything is sorted once; after that a cluster is a range,
and its weight, mean and squared error come from two running sums. Only operations that round the same everywhere and
running sums, which torch never splits between threads, decide a level.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.progress import NULL_PROGRESS, Progress

_CHUNK_VALUES = 1 << 21
_SETTLE_START = 10
_SETTLE = 30
_MOVES = 16
_SETTLE_AFTER_MOVE = 4
_PART_SETTLE = 3
_PROMISING = 0.5
_MIN_WEIGHT = 1e-6


def quantile_levels(values: Tensor, count: int, progress: Progress = NULL_PROGRESS) -> Tensor:
    """float32 [units, count], ascending: the medians of `count` ranges that hold equally many of values [units, n].

    Units with at most `count` distinct values get exactly these. Source: arXiv 2110.02861, section 2.2.
    """
    found = values.new_empty((len(values), count), dtype=torch.float32)
    for start, stop in _chunks(values):
        progress.check_cancelled()
        ascending = values[start:stop].float().sort(dim=1).values
        place = (torch.arange(count, dtype=torch.float64) + 0.5) / count * (ascending.shape[1] - 1)
        low = place.long()
        lower, upper = ascending[:, low].double(), ascending[:, (low + 1).clamp_(max=ascending.shape[1] - 1)].double()
        levels = lower + (upper - lower) * (place - low)
        found[start:stop] = _exact_where_few(ascending, levels.float())
    return found


def kmeans_levels(
    values: Tensor, count: int, weights: Tensor | None = None, progress: Progress = NULL_PROGRESS
) -> Tensor:
    """float32 [units, count], ascending: levels of about least Σ w·(x − level)² for values x [units, n].

    weights: float32 [units, n] or broadcast to it, of the squared errors; negative ones count as zero, and none counts
    less than a millionth of the largest in its unit. Units with at most `count` distinct values get exactly these.
    Lloyd's iteration from evenly spaced levels, or from levels as dense as the 3/8th power of the values' density,
    whichever is better; then moves that join the two clusters which lose least and part the one that gains most, as
    long as that pays.
    Source: Lloyd 1982; the start after Panter and Dite 1951 (power 1/3; square roots round the same everywhere).
    """
    found = values.new_empty((len(values), count), dtype=torch.float32)
    whole = None if weights is None else weights.expand_as(values)
    for start, stop in _chunks(values):
        units = _sorted(values[start:stop].float(), None if whole is None else whole[start:stop], progress)
        levels = _improved(units, _best_start(units, count))
        found[start:stop] = _exact_where_few(units.ascending, (levels + units.centre).float())
    return found


@dataclass(frozen=True)
class _Units:
    """Sorted units: `ascending` as they came, float32, `values` from the unit's `centre` [units, 1], float64.

    weight, moment: running sums of w and w·x, float64 [units, n + 1]; weights: sorted, float64, None when all are one.
    """

    ascending: Tensor
    centre: Tensor
    values: Tensor
    weights: Tensor | None
    weight: Tensor
    moment: Tensor
    progress: Progress

    def at(self, units: Tensor) -> _Units:
        """Some of the units, by index or mask."""
        weights = None if self.weights is None else self.weights[units]
        return _Units(
            self.ascending[units],
            self.centre[units],
            self.values[units],
            weights,
            self.weight[units],
            self.moment[units],
            self.progress,
        )


@dataclass(frozen=True)
class _Clusters:
    """Ranges `ends` [units, clusters + 1] of sorted values; their weights and moments [units, clusters]."""

    ends: Tensor
    weight: Tensor
    moment: Tensor

    @property
    def mean(self) -> Tensor:
        return self.moment / self.weight.clamp(min=torch.finfo(torch.float64).tiny)

    @property
    def explained(self) -> Tensor:
        """(Σwx)²/Σw: what a cluster takes off Σwx², so that the squared error is least where its sum is largest."""
        return _explained(self.moment, self.weight)


def _sorted(values: Tensor, weights: Tensor | None, progress: Progress) -> _Units:
    ascending, order = values.sort(dim=1, stable=True)
    wide = ascending.double()
    centre = wide[:, wide.shape[1] // 2, None].clone()
    wide -= centre
    if weights is None:
        ones = torch.ones((), dtype=torch.float64).expand_as(wide)
        return _Units(ascending, centre, wide, None, _running(ones), _running(wide), progress)
    largest = weights.amax(1, keepdim=True).double()
    kept = torch.where(largest > 0, weights.double() / largest, 1.0).clamp_(min=_MIN_WEIGHT).gather(1, order)
    return _Units(ascending, centre, wide, kept, _running(kept), _running(kept * wide), progress)


def _running(values: Tensor) -> Tensor:
    return torch.nn.functional.pad(values.cumsum(1), (1, 0))


def _start(units: _Units, count: int) -> Tensor:
    """Levels [units, count] at even shares of Σ gap^(5/8)·w^(3/8), which follows the 3/8th power of the density."""
    gaps = units.values.diff(dim=1)
    share = (gaps * gaps.sqrt().sqrt()).sqrt_()
    if units.weights is not None:
        root = units.weights[:, 1:].sqrt()
        share *= (root * root.sqrt()).sqrt_()
    running = _running(share)
    places = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    found = torch.searchsorted(running, running[:, -1:] * places)
    return units.values.gather(1, found.clamp_(max=units.values.shape[1] - 1))


def _clusters(units: _Units, levels: Tensor) -> _Clusters:
    """The values nearest to each level."""
    units.progress.check_cancelled()
    inner = torch.searchsorted(units.values, ((levels[:, 1:] + levels[:, :-1]) * 0.5).contiguous())
    ends = torch.nn.functional.pad(inner, (1, 0))
    ends = torch.nn.functional.pad(ends, (0, 1), value=units.values.shape[1])
    return _Clusters(ends, units.weight.gather(1, ends).diff(dim=1), units.moment.gather(1, ends).diff(dim=1))


def _settled(units: _Units, levels: Tensor, iterations: int) -> Tensor:
    """Lloyd's iteration. An empty cluster keeps its level."""
    last: Tensor | None = None
    for _ in range(iterations):
        clusters = _clusters(units, levels)
        if last is not None and torch.equal(last, clusters.ends):
            break
        last = clusters.ends
        levels = torch.where(clusters.weight > 0, clusters.mean, levels)
        # The last digit of a mean may overtake a neighbour's where values are almost equal.
        levels = levels.cummax(1).values
    return levels


def _improved(units: _Units, levels: Tensor) -> Tensor:
    """Levels after moving clusters from where they gain little to where they gain much, as long as that pays."""
    if levels.shape[1] < 3:
        return levels
    explained = _total(units, levels)
    active = torch.arange(len(levels))
    for _ in range(_MOVES):
        part = units if len(active) == len(levels) else units.at(active)
        moved, promising = _moved(part, levels[active])
        if not promising.all():
            active, part, moved = active[promising], part.at(promising), moved[promising]
        if not len(active):
            break
        moved = _settled(part, moved, _SETTLE_AFTER_MOVE)
        reached = _total(part, moved)
        pays = reached > explained[active] * (1 + 1e-9)
        active = active[pays]
        levels[active], explained[active] = moved[pays], reached[pays]
    return _settled(units, levels, _SETTLE)


def _total(units: _Units, levels: Tensor) -> Tensor:
    """What all clusters of a unit explain together, float64 [units]."""
    return _clusters(units, levels).explained.cumsum(1)[:, -1]


def _best_start(units: _Units, count: int) -> Tensor:
    """Of the starts, each settled a little, the one that explains most in each unit."""
    best = _settled(units, _start(units, count), _SETTLE_START)
    low, high = units.values[:, :1], units.values[:, -1:]
    even = low + (high - low) * ((torch.arange(count, dtype=torch.float64) + 0.5) / count)
    other = _settled(units, even, _SETTLE_START)
    return torch.where((_total(units, other) > _total(units, best))[:, None], other, best)


def _moved(units: _Units, levels: Tensor) -> tuple[Tensor, Tensor]:
    """In each unit the two neighbours joined that lose least, and the cluster parted that gains most; and whether
    that may lower the squared error once the others have settled, bool [units]."""
    clusters = _clusters(units, levels)
    explained = clusters.explained
    joint = _Clusters(
        clusters.ends,
        clusters.weight[:, 1:] + clusters.weight[:, :-1],
        clusters.moment[:, 1:] + clusters.moment[:, :-1],
    )
    lost, pair = (explained[:, 1:] + explained[:, :-1] - joint.explained).min(1, keepdim=True)
    left, right = _parted(units, clusters)
    gain = left.explained + right.explained - explained
    gained, part = gain.scatter(1, pair, -1.0).scatter_(1, pair + 1, -1.0).max(1, keepdim=True)
    middle = torch.where(joint.weight > 0, joint.mean, levels[:, 1:]).gather(1, pair)
    moved = levels.scatter(1, pair, middle)
    moved.scatter_(1, pair + 1, left.mean.gather(1, part)).scatter_(1, part, right.mean.gather(1, part))
    return moved.sort(dim=1).values, (gained > lost * _PROMISING)[:, 0]


def _parted(units: _Units, clusters: _Clusters) -> tuple[_Clusters, _Clusters]:
    """Each cluster in two: below and above its mean first, then settled. One side of a single value is empty."""
    low, high = clusters.ends[:, :-1], clusters.ends[:, 1:]
    low_weight, low_moment = units.weight.gather(1, low), units.moment.gather(1, low)
    middle = clusters.mean
    for _ in range(_PART_SETTLE):
        cut = torch.searchsorted(units.values, middle).clamp(low, high)
        left = _Clusters(
            clusters.ends, units.weight.gather(1, cut) - low_weight, units.moment.gather(1, cut) - low_moment
        )
        right = _Clusters(clusters.ends, clusters.weight - left.weight, clusters.moment - left.moment)
        both = (left.weight > 0) & (right.weight > 0)
        middle = torch.where(both, (left.mean + right.mean) * 0.5, middle)
    return left, right


def _explained(moment: Tensor, weight: Tensor) -> Tensor:
    return moment * moment / weight.clamp(min=torch.finfo(torch.float64).tiny)


def _exact_where_few(ascending: Tensor, levels: Tensor) -> Tensor:
    """The distinct values themselves, the largest repeated, in units where there is a level for each."""
    count = levels.shape[1]
    rank = torch.nn.functional.pad((ascending[:, 1:] != ascending[:, :-1]).cumsum(1), (1, 0))
    exact = ascending[:, -1:].expand_as(levels).clone().scatter_(1, rank.clamp(max=count - 1), ascending)
    return torch.where(rank[:, -1:] < count, exact, levels)


def _chunks(values: Tensor) -> list[tuple[int, int]]:
    """Ranges of units of about `_CHUNK_VALUES` values."""
    units, size = values.shape
    step = max(1, _CHUNK_VALUES // max(1, size))
    return [(start, min(start + step, units)) for start in range(0, units, step)]
