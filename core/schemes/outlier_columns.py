"""Which columns of a matrix are kept aside, and in what."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.schemes.matrix import Matrix
from benchvise.core.schemes.normal_float import last_sums


def largest_columns(score: Tensor, count: int) -> Tensor:
    """Indices of the `count` largest of `score` [columns], ascending int64; of equal ones the first."""
    order = score.cpu().sort(descending=True, stable=True).indices
    return order[:count].sort().values


def magnitude_score(values: Tensor) -> Tensor:
    """The largest magnitude in each column, float32 [columns]."""
    return values.abs().amax(0).float()


def importance_score(values: Tensor, importance: Tensor) -> Tensor:
    """h·Σw² of each column, float64 [columns]; h: float32 [columns]."""
    return last_sums(values.float().square().T) * importance


def kept_dtype(dtype: torch.dtype) -> torch.dtype:
    """Sixteen bits: the weight's own, or float16 where that is wider."""
    return dtype if dtype.itemsize == 2 else torch.float16


def kept_values(values: Tensor, dtype: torch.dtype) -> Tensor:
    """Values of any shape of a `dtype` weight as they are kept; beyond the range of float16 its largest."""
    kept = kept_dtype(dtype)
    limit = torch.finfo(kept).max
    return values.clamp(-limit, limit).to(kept)


@dataclass(frozen=True)
class WithoutColumns:
    """A matrix with some columns, int64 [k], at zero."""

    matrix: Matrix
    zeroed: Tensor

    @property
    def rows(self) -> int:
        return self.matrix.rows

    @property
    def columns(self) -> int:
        return self.matrix.columns

    @property
    def dtype(self) -> torch.dtype:
        return self.matrix.dtype

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        for start, block in self.matrix.blocks():
            yield start, self.without(block)

    def without(self, block: Tensor) -> Tensor:
        return block.index_fill(1, self.zeroed.to(block.device), 0)
