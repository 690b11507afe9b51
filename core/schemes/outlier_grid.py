"""Integer codes with columns kept aside, as solvers see them."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.outliers import Outliers
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.integer_grid import IntegerGrid
from benchvise.core.schemes.outlier_columns import (
    importance_score,
    kept_dtype,
    kept_values,
    largest_columns,
    magnitude_score,
)


class OutlierGrid(Grid):
    """A fit of the whole matrix chooses the columns; later fits of single spans leave that choice as it is.

    Without a fit of the whole matrix each span keeps its even share of the columns. A kept column has the code of zero;
    `encode` keeps the values handed in, as they are stored, and `decode` gives the last ones kept, whatever the codes.
    """

    def __init__(
        self, settings: Outliers, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.integer = IntegerGrid(settings.integer, rows, columns, dtype, clip=clip)
        self.span = self.integer.span
        self.kept = torch.zeros(columns, dtype=torch.bool)
        self.values = torch.zeros(columns, rows, dtype=kept_dtype(dtype))
        self._chosen = False

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        if self.kept.device != values.device:
            self.kept, self.values = self.kept.to(values.device), self.values.to(values.device)
        stop = start + values.shape[1]
        score = magnitude_score(values) if importance is None else importance_score(values, importance)
        if values.shape[1] == self.columns:
            self._keep(start, score, self.settings.kept_columns(self.columns))
            self._chosen = True
        elif not self._chosen:
            self._keep_shares(start, score)
        self.integer.progress = self.progress
        self.integer.fit(start, values.masked_fill(self.kept[start:stop], 0), importance)

    def encode(self, start: int, values: Tensor) -> Tensor:
        kept = self.kept[start : start + values.shape[1]]
        if not kept.any():
            return self.integer.encode(start, values)
        self.values[start : start + values.shape[1]][kept] = kept_values(values[:, kept], self.dtype).T
        return self.integer.encode(start, values.masked_fill(kept, 0))

    def decode(self, start: int, codes: Tensor) -> Tensor:
        kept = self.kept[start : start + codes.shape[1]]
        decoded = self.integer.decode(start, codes)
        if kept.any():
            decoded[:, kept] = self.values[start : start + codes.shape[1]][kept].T.float()
        return decoded

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return {
            **self.integer.stored(codes),
            "outlier_columns": self.kept.nonzero()[:, 0].to(torch.int32),
            "outlier_values": self.values[self.kept].T.contiguous(),
        }

    def _keep(self, start: int, score: Tensor, count: int) -> None:
        self.kept[start : start + len(score)] = False
        self.kept[(start + largest_columns(score, count)).to(self.kept.device)] = True

    def _keep_shares(self, start: int, score: Tensor) -> None:
        """The best columns of every span, so many that all spans together keep the right number."""
        count, spans = self.settings.kept_columns(self.columns), self.columns // self.span
        for offset in range(0, len(score), self.span):
            span = (start + offset) // self.span
            share = (span + 1) * count // spans - span * count // spans
            self._keep(start + offset, score[offset : offset + self.span], share)
