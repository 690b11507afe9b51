"""Uniform integer grids as solvers see them: scales and zero points per span of columns."""

from __future__ import annotations

import torch
from torch import Tensor

from core.kernels.clip import grid_of_range, shrink_factors
from core.kernels.packing import pack_rows, unpack_rows
from core.methods.integer import Integer
from core.schemes.clip_search import ClipSearch
from core.schemes.grid import Grid


class IntegerGrid(Grid):
    """Scales and zero points are kept as float32 [spans, rows], so that those of one span lie together."""

    def __init__(
        self, settings: Integer, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = settings.group_columns(columns)
        self.clip = clip
        self._half = float(1 << (settings.bits - 1))
        spans = -(-columns // self.span)
        self.scale = torch.ones(spans, rows)
        self.zero = torch.full((spans, rows), self._half)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        for offset in range(0, values.shape[1], self.span):
            part = values[:, offset : offset + self.span]
            weights = None if importance is None else importance[offset : offset + self.span]
            scale, zero = self._searched(part, weights)
            span = (start + offset) // self.span
            self.scale[span] = scale
            self.zero[span] = zero

    def encode(self, start: int, values: Tensor) -> Tensor:
        scale, zero = self._parameters(start, values.shape[1])
        return (values / scale).round_().add_(zero).clamp_(0, 2 * self._half - 1).to(torch.uint8)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        scale, zero = self._parameters(start, codes.shape[1])
        return (codes.float() - zero).mul_(scale).to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        scale, zero = self.scale.T, self.zero.T
        if self.settings.granularity == "tensor":
            scale, zero = scale[:1], zero[:1]
        stored = {
            "weight_packed": pack_rows(codes.contiguous(), self.settings.bits),
            "weight_scale": scale.to(scale_dtype(self.dtype)).contiguous(),
        }
        if not self.settings.symmetric:
            stored["weight_zero_point"] = pack_columns(zero.to(torch.uint8), self.settings.bits)
        return stored

    def _parameters(self, start: int, columns: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point for each of the columns, [rows, columns] or [rows, 1] within one span."""
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.scale[first][:, None], self.zero[first][:, None]
        spans = torch.arange(start, start + columns) // self.span
        return self.scale[spans].T, self.zero[spans].T

    def _searched(self, values: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scale and zero point float32 [rows] of one span, with the best of the shrink factors."""
        whole = self.settings.granularity == "tensor"
        low, high = values.amin(1, keepdim=True), values.amax(1, keepdim=True)
        if whole:
            low, high = low.amin().expand_as(low), high.amax().expand_as(high)
        factors = [1.0] if self.clip is None else shrink_factors(self.clip.steps, self.clip.least)
        best_scale, best_zero = self._grid(low, high)
        if len(factors) == 1:
            return best_scale, best_zero
        least = self._error(values, best_scale, best_zero, importance, whole=whole)
        for factor in factors[1:]:
            scale, zero = self._grid(low * factor, high * factor)
            error = self._error(values, scale, zero, importance, whole=whole)
            better = error < least
            best_scale = torch.where(better, scale, best_scale)
            best_zero = torch.where(better, zero, best_zero)
            least = torch.where(better, error, least)
        return best_scale, best_zero

    def _grid(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        settings = self.settings
        scale, zero = grid_of_range(
            low, high, bits=settings.bits, symmetric=settings.symmetric, scale_dtype=scale_dtype(self.dtype)
        )
        offset = torch.full_like(low, self._half) if zero is None else zero.float()
        return scale.float()[:, 0], offset[:, 0]

    def _error(self, values: Tensor, scale: Tensor, zero: Tensor, importance: Tensor | None, *, whole: bool) -> Tensor:
        """Σ h·(w − ŵ)² per row [rows]; with one grid for the whole tensor its sum, for every row."""
        codes = (values / scale[:, None]).round_().add_(zero[:, None]).clamp_(0, 2 * self._half - 1)
        error = codes.sub_(zero[:, None]).mul_(scale[:, None]).sub_(values).square_()
        sums = error.sum(1) if importance is None else error.mul_(importance).sum(1)
        return sums.sum().expand_as(sums) if whole else sums


def scale_dtype(dtype: torch.dtype) -> torch.dtype:
    """Scales are stored in the weight's dtype; float64 weights keep float32 scales."""
    return torch.float32 if dtype == torch.float64 else dtype


def pack_columns(codes: Tensor, bits: int) -> Tensor:
    """Codes uint8 [rows, groups] packed along the rows' index: int32 [ceil(rows·bits / 32), groups]."""
    return pack_rows(codes.T.contiguous(), bits).T.contiguous()


def unpack_columns(packed: Tensor, bits: int, rows: int) -> Tensor:
    """The codes that `pack_columns` packed: uint8 [rows, groups]."""
    return unpack_rows(packed.T.contiguous(), bits, rows).T.contiguous()
