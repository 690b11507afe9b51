"""F16 and BF16 as solvers see them: weights in another floating dtype, without any parameter."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.schemes.grid import Grid


class HalfGrid(Grid):
    """Codes are the bits of the numbers, int16."""

    def __init__(self, half: torch.dtype, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.half = half
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = max(1, columns)
        # The greatest number of either dtype that the other one holds.
        self._most = min(torch.finfo(dtype).max, torch.finfo(half).max)
        if float(torch.tensor(self._most).to(half)) > self._most:
            self._most = float(torch.nextafter(torch.tensor(self._most).to(half), torch.zeros((), dtype=half)))

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        """Nothing is fitted."""

    def encode(self, start: int, values: Tensor) -> Tensor:  # noqa: ARG002 - no column differs
        return values.clamp(-self._most, self._most).to(self.half).contiguous().view(torch.int16)

    def decode(self, start: int, codes: Tensor) -> Tensor:  # noqa: ARG002
        return codes.contiguous().view(self.half).float().to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return {"weight": codes.contiguous().view(self.half)}
