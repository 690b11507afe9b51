"""What a treatment did to a layer's values, added up block by block."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Floats = NDArray[np.float64]

_PIECE = 1 << 16
"""Values at a time: as float64, before and after stay in the cache. Fixed, for it decides the order of the sums."""


@dataclass
class Quality:
    """Signal Σw², noise Σ(w − ŵ)², largest |w − ŵ| and number of zeros among the ŵ, in float64.

    The order of the sums depends on the blocks alone, neither on threads nor on the device.
    """

    signal: float = 0.0
    noise: float = 0.0
    max_error: float = 0.0
    zeros: int = 0

    def add(self, before: Tensor, after: Tensor) -> None:
        """before, after: a block of weights and what represents them, both [rows, columns], any floating dtype."""
        weights, represented = before.reshape(-1), after.reshape(-1)
        for start in range(0, weights.numel(), _PIECE):
            piece = slice(start, start + _PIECE)
            self._add_piece(weights[piece].cpu().double().numpy(), represented[piece].cpu().double().numpy())

    def _add_piece(self, weights: Floats, represented: Floats) -> None:
        self.zeros += int(np.count_nonzero(represented == 0))
        error = represented - weights
        self.max_error = max(self.max_error, float(error.max()), -float(error.min()))
        # Not a BLAS product: that would split the sum between threads.
        self.signal += float(np.einsum("i,i->", weights, weights))
        self.noise += float(np.einsum("i,i->", error, error))

    @property
    def sqnr_db(self) -> float | None:
        """10·log₁₀(Σw² / Σ(w − ŵ)²); None without error or without signal."""
        if self.noise == 0.0 or self.signal == 0.0:
            return None
        return float(10 * np.log10(self.signal / self.noise))
