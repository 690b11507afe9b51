"""A weight as a stream of rows, and what a solver makes of it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor


class Matrix(Protocol):
    """A weight [rows, columns] that is read in blocks of whole rows, as often as needed."""

    @property
    def rows(self) -> int: ...

    @property
    def columns(self) -> int: ...

    @property
    def dtype(self) -> torch.dtype: ...

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        """Yield (first row, rows [n, columns] in the weight's dtype) in order. The blocks' size is always the same."""


@dataclass(frozen=True)
class SolvedRows:
    """Rows from `start` on, solved: `original` and `decoded` [n, columns] before and after.

    stored: the tensors of the scheme that grow row by row.
    """

    start: int
    original: Tensor
    stored: dict[str, Tensor]
    decoded: Tensor
