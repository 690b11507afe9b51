"""Nearest rounding, block of rows by block of rows, for every scheme that has a grid."""

from __future__ import annotations

from typing import Generic, TypeVar

import torch
from torch import Tensor

from benchvise.core.methods.scheme import Scheme
from benchvise.core.schemes.arithmetic import SchemeArithmetic
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.matrix import SolvedRows

S = TypeVar("S", bound=Scheme)

STREAMED = frozenset({"weight", "weight_packed"})
"""Stored tensors with one row per row of the weight, written as they come; all others are complete at the end."""


class GridArithmetic(SchemeArithmetic[S], Generic[S]):
    """A scheme whose `grid` says all there is to say.

    Parameters are found for each block of rows by itself; where all rows share them (`whole`), the matrix is read once
    before. Stored tensors that are not streamed are joined along their first dimension.
    """

    def whole(self) -> bool:
        """Whether rows share parameters, so that they cannot be found block by block."""
        return False

    def fit(self) -> None:
        self._parts: dict[str, list[Tensor]] = {}
        self._shared: Grid | None = None
        if self.whole():
            values = torch.cat([block.float() for _, block in self.matrix.blocks()])
            self._shared = self._new_grid(self.matrix.rows)
            self._shared.fit(0, values)

    def project(self, start: int, block: Tensor) -> SolvedRows:
        values = block.float()
        if self._shared is not None:
            grid = self._shared.part(start, start + len(block))
        else:
            grid = self._new_grid(len(block))
            grid.fit(0, values)
        codes = grid.encode(0, values)
        stored = grid.stored(codes)
        for name in stored.keys() - STREAMED:
            if self._shared is None:
                self._parts.setdefault(name, []).append(stored[name].cpu())
            else:
                self._parts[name] = [stored[name].cpu()]
        streamed = {name: values for name, values in stored.items() if name in STREAMED}
        return SolvedRows(start, block, streamed, grid.decode(0, codes).to(block.dtype))

    def tail(self) -> dict[str, Tensor]:
        return {name: torch.cat(parts) for name, parts in self._parts.items()}

    def _new_grid(self, rows: int) -> Grid:
        grid = self.grid(self.settings, rows, self.matrix.columns, self.matrix.dtype, clip=self.clip)
        grid.progress = self.progress
        return grid
