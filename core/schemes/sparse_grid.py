"""A matrix with zeros as solvers see it: which weights stay, and what those may be."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import MaskGrid
from benchvise.core.schemes.integer_grid import IntegerGrid
from benchvise.core.schemes.sparse_storage import stored_tensors
from benchvise.core.schemes.sparse_units import kept_units

_SPAN = 32
"""Columns whose zeros are chosen together when solvers go span by span; fewer cost more time and gain little."""

_CLIP = ClipSearch(20, 0.6)
_DAMPING = 0.01


class SparseGrid(MaskGrid):
    """Each fit of a span chooses which of its weights stay, unless a mask is held for good.

    Codes are the values themselves in the weight's dtype, or those of the integers; codes of zeros mean nothing.
    """

    def __init__(self, settings: Sparse, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.integer = None
        if settings.integer is not None:
            self.integer = IntegerGrid(settings.integer, rows, columns, dtype, clip=_CLIP)
        self.span = _span(settings, columns)
        self.continuous = self.integer is None
        self.mask = torch.ones(rows, columns, dtype=torch.bool)
        self._held = False
        self._limit = torch.finfo(dtype).max if dtype == torch.float16 else torch.inf
        self._weights: Tensor | None = None

    def learn(self, moments: Tensor) -> None:
        if self.settings.score == "inputs":
            self._weights = moments.diagonal().clone()
        elif self.settings.score == "obs":
            self._weights = _losses(moments)

    def hold(self, mask: Tensor) -> None:
        self.mask, self._held = mask, True

    def chosen(self, values: Tensor) -> Tensor:
        return kept_units(self.settings, values.abs(), 0, self.columns)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        stop = start + values.shape[1]
        if not self._held:
            score = values.abs()
            weights = self._weighed(start, stop, importance)
            if weights is not None:
                score = score * weights.clamp(min=0).sqrt()
            self.mask = self.mask.to(values.device)
            self.mask[:, start:stop] = kept_units(self.settings, score, start, self.columns)
        if self.integer is not None:
            self.integer.progress = self.progress
            self.integer.fit(start, values * self.mask[:, start:stop], importance)

    def encode(self, start: int, values: Tensor) -> Tensor:
        kept = values * self.mask[:, start : start + values.shape[1]]
        if self.integer is not None:
            return self.integer.encode(start, kept)
        return kept.clamp(-self._limit, self._limit).to(self.dtype)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        if self.integer is None:
            return codes.float()
        return self.integer.decode(start, codes) * self.mask[:, start : start + codes.shape[1]]

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        scale = {} if self.integer is None else {"weight_scale": self.integer.parameters()["weight_scale"]}
        return stored_tensors(self.settings, self.mask, codes) | scale

    def _weighed(self, start: int, stop: int, importance: Tensor | None) -> Tensor | None:
        """What a squared change of each column costs, [stop − start]; None where all cost the same."""
        if self.settings.score == "obs" and importance is not None:
            return importance
        return None if self._weights is None else self._weights[start:stop]


def _span(settings: Sparse, columns: int) -> int:
    wide = settings.cell()[1]
    if wide > columns:
        return columns
    unit = settings.of if settings.criterion == "n_of_m" else wide
    if settings.integer is None:
        return min(columns, unit if unit >= _SPAN else _SPAN // unit * unit)
    group = settings.integer.group_columns(columns)
    return group if group % unit == 0 else columns


def _losses(moments: Tensor) -> Tensor:
    """1 / [H⁻¹]ⱼⱼ [columns]: what losing a weight of size 1 costs once all others have made good."""
    damped = moments + torch.eye(len(moments)) * (_DAMPING * moments.diagonal().mean())
    factor, info = torch.linalg.cholesky_ex(damped)
    if int(info):
        return moments.diagonal().clone()
    return 1 / torch.cholesky_inverse(factor).diagonal()
