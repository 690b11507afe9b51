"""Which windows each step of learning sees."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor


def batches_of_windows(windows: int, batch: int, seed: int) -> Iterator[list[int]]:
    """Numbers of `batch` windows (or all, if there are fewer), in an order shuffled anew once all were drawn."""
    generator = torch.Generator().manual_seed(seed)
    left: list[int] = []
    while True:
        if len(left) < min(batch, windows):
            left = torch.randperm(windows, generator=generator).tolist()
        drawn, left = left[:batch], left[batch:]
        yield drawn


def picked(batches: Sequence[Tensor], windows: Sequence[int]) -> Tensor:
    """The windows of those numbers, [windows, ...], from batches [n, ...] of any dtype; only the last is shorter."""
    size = len(batches[0])
    return torch.stack([batches[window // size][window % size] for window in windows])
