"""k-means in one dimension solved exactly by dynamic programming, in plain Python; no code shared with the core."""

from __future__ import annotations

from collections.abc import Sequence


def squared_error(values: Sequence[float], weights: Sequence[float], levels: Sequence[float]) -> float:
    """Σ w·(x − nearest level)²."""
    return sum(w * min((x - level) ** 2 for level in levels) for x, w in zip(values, weights, strict=True))


def least_error(values: Sequence[float], weights: Sequence[float], count: int) -> float:
    """The least Σ w·(x − level)² that any `count` levels can have."""
    points = sorted(zip(values, weights, strict=True))
    n = len(points)
    cost = [[0.0] * (n + 1) for _ in range(n + 1)]
    for start in range(n):
        weight = mean = error = 0.0
        for stop in range(start, n):
            value, one = points[stop]
            if one > 0:
                weight += one
                step = value - mean
                mean += step * one / weight
                error += one * step * (value - mean)
            cost[start][stop + 1] = error
    best = cost[0][:]
    for _ in range(count - 1):
        best = [min(best[cut] + cost[cut][stop] for cut in range(stop + 1)) for stop in range(n + 1)]
    return best[n]
