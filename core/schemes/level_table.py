"""Any ascending levels as a rounding: exact thresholds between them, found through a table over the bits of a float."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

_SIGN_AND_EXPONENT_BITS = 9
_MANTISSA_BITS = 23
_MAX_PRECISION = 10
"""Mantissa bits that tell cells apart: a table of 2^19 cells is the largest."""


class LevelTable:
    """Levels of a grid whose scale is 1, ascending; the code of a level is its index.

    A float's sign, exponent and first mantissa bits say in which cell of the number line it lies. A cell holds at most
    one threshold, so a value's code is the number of thresholds below its cell, plus one when it lies above the
    cell's own. That takes two look-ups and one comparison, and is exact.

    levels:     at most 256.
    thresholds: float32, ascending, one less than levels; a value at a threshold gets the lower code.
    Raises ValueError for thresholds out of order, or closer together than 2^-10 of their magnitude.
    """

    def __init__(self, levels: Sequence[float], thresholds: Sequence[float]) -> None:
        self.levels = torch.tensor(levels, dtype=torch.float32)
        self.largest = float(self.levels.abs().max())
        bounds = np.array(thresholds, np.float32)
        if len(bounds) != len(levels) - 1 or len(levels) > 256 or not (np.diff(bounds) > 0).all():
            raise ValueError(f"{len(levels)} levels need thresholds in ascending order between them, not {bounds}")
        precision = next((bits for bits in range(_MAX_PRECISION + 1) if _one_each(bounds, bits)), None)
        if precision is None:
            raise ValueError(f"the thresholds {bounds} lie too close together")
        self._shift = _MANTISSA_BITS - precision
        self._middle = 1 << (_SIGN_AND_EXPONENT_BITS - 1 + precision)
        below, edge = _cells(bounds, self._shift, self._middle)
        self._on = {torch.device("cpu"): (torch.from_numpy(below), torch.from_numpy(edge), self.levels)}

    def encode(self, values: Tensor) -> Tensor:
        """Codes uint8, of the shape of float32 `values`; NaN gets the code of some level too."""
        cells = (values.view(torch.int32) >> self._shift).add_(self._middle)
        flat = cells.reshape(-1)
        below, edge, _ = self._tables(values.device)
        bound = edge.index_select(0, flat).view(cells.shape)
        return below.index_select(0, flat).view(cells.shape).add_(values > bound)

    def decode(self, codes: Tensor) -> Tensor:
        """The levels float32 of uint8 `codes`, of their shape."""
        levels = self._tables(codes.device)[2]
        return levels.index_select(0, codes.reshape(-1).int()).view(codes.shape)

    def _tables(self, device: torch.device) -> tuple[Tensor, Tensor, Tensor]:
        if device not in self._on:
            below, edge, levels = self._on[torch.device("cpu")]
            self._on[device] = below.to(device), edge.to(device), levels.to(device)
        return self._on[device]


def midpoints(levels: Sequence[float]) -> list[float]:
    """Thresholds of rounding to the nearest level."""
    return [(low + high) / 2 for low, high in pairwise(levels)]


def _one_each(bounds: NDArray[np.float32], precision: int) -> bool:
    cells = bounds.view(np.int32) >> (_MANTISSA_BITS - precision)
    return len(np.unique(cells)) == len(cells)


def _cells(bounds: NDArray[np.float32], shift: int, middle: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Of each cell: how many thresholds lie below it, and the threshold inside it (infinity where there is none)."""
    cell_bits = np.arange(-middle, middle, dtype=np.int64)
    # The number of least magnitude of each cell; no other threshold of the cell lies between it and the cell's own.
    pattern = np.where(cell_bits < 0, cell_bits + (1 << 32 - shift), cell_bits) << shift
    first = pattern.astype(np.uint32).view(np.float32)
    inside = (bounds.view(np.int32) >> shift) + middle
    edge = np.full(2 * middle, np.inf, np.float32)
    edge[inside] = bounds
    with np.errstate(invalid="ignore"):
        below = np.searchsorted(bounds, first, side="left")
    # A negative cell reaches from its number of least magnitude downwards, so its own threshold is counted there.
    for cell, bound in zip(inside, bounds, strict=True):
        below[cell] = np.searchsorted(bounds, bound, side="left")
    return below.astype(np.uint8), edge
