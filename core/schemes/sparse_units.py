"""Which units of a matrix stay: the best by score, exactly as many as the settings say."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.grouping import cells
from benchvise.core.methods.sparse import Sparse

_RANKED = 8
"""Up to so many neighbours the bound is found by exchanging lanes, which is faster than sorting them."""

_PART = 1 << 18
"""Neighbourhoods that are looked at together: their lanes stay in the cache, and both cores have work."""


def kept_units(settings: Sparse, score: Tensor, start: int, columns: int) -> Tensor:
    """bool [rows, n]: which weights of the n columns from `start` on stay.

    score: float32 [rows, n], in the measure of a magnitude. A part of the `columns` keeps its even share, so that all
    parts together keep exactly the right number. Of equal scores the later ones in row order stay.
    """
    rows, count = score.shape
    if settings.criterion == "threshold":
        return score > settings.threshold
    if settings.criterion == "n_of_m":
        return _best_of_every(score, settings.kept, settings.of)
    if settings.pattern == "single" and settings.scope == "row":
        left = columns - round(settings.fraction * columns)
        return _best_in_rows(score, _share(left, start, count, columns))
    down, across = cells((rows, count), settings.cell())
    tall, wide = rows // down, count // across
    all_across = columns // wide
    left = down * all_across - round(settings.fraction * down * all_across)
    if tall * wide > 1:
        score = score.reshape(down, tall, across, wide).square().sum((1, 3))
    best = _best(score.reshape(-1), _share(left, start // wide, across, all_across)).view(down, across)
    return best.repeat_interleave(tall, 0).repeat_interleave(wide, 1) if tall * wide > 1 else best


def _share(left: int, start: int, count: int, of: int) -> int:
    """What falls on `count` of `of` from `start` on, when `left` are spread evenly."""
    return left * (start + count) // of - left * start // of


def _best(score: Tensor, count: int) -> Tensor:
    """bool [n]: the `count` best, of equal ones the last."""
    if count == 0:
        return torch.zeros_like(score, dtype=torch.bool)
    if count == len(score):
        return torch.ones_like(score, dtype=torch.bool)
    bound = score.kthvalue(len(score) - count + 1).values
    best = score > bound
    at = (score == bound).nonzero()[:, 0]
    best[at[len(at) - (count - int(best.sum())) :]] = True
    return best


def _best_in_rows(score: Tensor, count: int) -> Tensor:
    order = torch.argsort(score, dim=1, stable=True)
    best = torch.zeros_like(score, dtype=torch.bool)
    return best.scatter_(1, order[:, score.shape[1] - count :], True)


def _best_of_every(score: Tensor, kept: int, of: int) -> Tensor:
    rows, columns = score.shape
    if of > _RANKED:
        return _best_in_rows(score.reshape(-1, of), kept).view(rows, columns)
    best = torch.empty(rows * columns // of, of, dtype=torch.bool, device=score.device)
    groups = score.reshape(-1, of)
    for start in range(0, len(groups), _PART):
        lanes = groups[start : start + _PART].T.contiguous()
        better = lanes >= _largest(lanes, kept)
        tied = (better.sum(0, dtype=torch.uint8) > kept).nonzero()[:, 0]
        if len(tied):
            better[:, tied] = _best_by_pairs(lanes[:, tied], kept)
        best[start : start + _PART] = better.T
    return best.view(rows, columns)


def _largest(lanes: Tensor, place: int) -> Tensor:
    """[n]: of each column of lanes [of, n] the value in this place, from 1 for the largest."""
    sorting = list(lanes)
    for last in range(len(sorting) - 1, len(sorting) - 1 - place, -1):
        for one in range(last):
            low, high = sorting[one], sorting[one + 1]
            sorting[one], sorting[one + 1] = torch.minimum(low, high), torch.maximum(low, high)
    largest: Tensor = sorting[-place]
    return largest


def _best_by_pairs(lanes: Tensor, kept: int) -> Tensor:
    """bool [of, n]: of each column the `kept` best, of equal ones the last."""
    better = torch.zeros_like(lanes, dtype=torch.uint8)  # how many of the others a weight gives way to
    for one in range(len(lanes)):
        for later in range(one + 1, len(lanes)):
            less = lanes[one] <= lanes[later]
            better[one] += less
            better[later] += ~less
    best: Tensor = better < kept
    return best
