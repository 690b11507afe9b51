"""Uniform integer grids as solvers see them: scales and zero points per span of columns."""

from __future__ import annotations

import math
from copy import copy

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchvise.core.kernels.clip import grid_of_range, shrink_factors
from benchvise.core.kernels.packing import pack_rows, unpack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.grid import Grid

_CHUNK_WEIGHTS = 1 << 18
"""Searched at a time: a few float32 copies of them lie in the caches."""


class IntegerGrid(Grid):
    """Scales and zero points are kept as float32 [spans, rows], so that those of one span lie together.

    Codes are u = clamp(round(w / s) + z) where zero points are whole numbers, and u = clamp(round(w / s + z)) where
    they are not. `zero` is z less half the number of codes, which is how zero points that are no whole numbers are
    stored: near 0, where short floating numbers are finest.
    """

    def __init__(
        self, settings: Integer, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = settings.group_columns(columns)
        self._shared_rows = min(settings.shared_rows, rows)
        self.clip = clip
        self._half = float(1 << (settings.bits - 1))
        spans = -(-columns // self.span)
        self.scale = torch.ones(spans, rows)
        self.zero = torch.zeros(spans, rows)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        rows, columns = values.shape
        first, size = start // self.span, min(self.span, columns)
        spans = columns // size
        groups = values.T.reshape(spans, size, rows)
        weights = None if importance is None else importance.view(spans, size, 1)
        target = slice(first, first + spans)
        if self._shared_rows > 1:
            self.scale[target], self.zero[target] = self._searched(groups, weights)
            return
        step = max(2, _CHUNK_WEIGHTS // max(1, columns))
        for row in range(0, rows, step):
            # A single row's sums would be split between threads, which changes their order.
            part = slice(max(0, min(row, rows - 2)), row + step)
            self.progress.check_cancelled()
            scale, zero = self._searched(groups[..., part], weights)
            self.scale[target, part], self.zero[target, part] = scale, zero

    def encode(self, start: int, values: Tensor) -> Tensor:
        return self._centred(values, *self._parameters(start, values.shape[1])).add_(self._half).to(torch.uint8)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        rows, columns = codes.shape
        if columns > self.span and not start % self.span and not columns % self.span:
            part = slice(start // self.span, (start + columns) // self.span)
            scale, zero = self.scale[part].T[..., None], self.zero[part].T[..., None]
            codes = codes.reshape(rows, -1, self.span)
        else:
            scale, zero = self._parameters(start, columns)
        values = codes.to(torch.float32, copy=True).sub_(self._half).sub_(zero).mul_(scale)
        return values.view(rows, columns).to(self.dtype).float()

    def rounded(self, start: int, values: Tensor) -> tuple[Tensor, Tensor]:
        scale, zero = self._parameters(start, values.shape[1])
        codes = self._centred(values, scale, zero)
        decoded = (codes - zero).mul_(scale).to(self.dtype).float()
        return codes.add_(self._half).to(torch.uint8), decoded

    def _centred(self, values: Tensor, scale: Tensor, zero: Tensor) -> Tensor:
        """The codes of values, less half of how many there are, in float32."""
        codes = values / scale
        codes = codes.add_(zero).round_() if self.settings.float_zero else codes.round_().add_(zero)
        return codes.clamp_(-self._half, self._half - 1)

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return {"weight_packed": pack_rows(codes.contiguous(), self.settings.bits)} | self.parameters()

    def parameters(self) -> dict[str, Tensor]:
        """The stored tensors besides the codes."""
        scale, zero = self.scale.T[:: self._shared_rows], self.zero.T[:: self._shared_rows]
        stored = {"weight_scale": scale.to(scale_dtype(self.dtype)).contiguous()}
        if self.settings.float_zero:
            stored["weight_zero_point"] = zero.to(scale_dtype(self.dtype)).contiguous()
        elif not self.settings.symmetric:
            stored["weight_zero_point"] = pack_columns((zero + self._half).to(torch.uint8), self.settings.bits)
        return stored

    def part(self, start: int, stop: int) -> IntegerGrid:
        """The fitted grid as rows start to stop see it, for encoding and decoding."""
        part = copy(self)
        part.rows, part.scale, part.zero = stop - start, self.scale[:, start:stop], self.zero[:, start:stop]
        return part

    def rounded_to_stored(self, scale: Tensor, zero: Tensor) -> tuple[Tensor, Tensor]:
        """Scales and zero points as `stored` holds them: float32 of the values in their dtype, or whole codes."""
        dtype = scale_dtype(self.dtype)
        limits = torch.finfo(dtype)
        scale = scale.clamp(limits.tiny, limits.max).to(dtype).float()
        if self.settings.symmetric:
            return scale, torch.zeros_like(zero)
        if self.settings.float_zero:
            return scale, zero.clamp(limits.min, limits.max).to(dtype).float()
        return scale, zero.round().clamp(-self._half, self._half - 1)

    def _parameters(self, start: int, columns: int) -> tuple[Tensor, Tensor]:
        """Scale and zero point for each of the columns, [rows, columns] or [rows, 1] within one span."""
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.scale[first][:, None], self.zero[first][:, None]
        spans = torch.arange(start, start + columns) // self.span
        return self.scale[spans].T, self.zero[spans].T

    def _searched(self, groups: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor]:
        """Scale and zero point float32 [spans, rows] of groups [spans, size, rows], with the best shrink factor.

        importance: [spans, size, 1].
        """
        low, high = groups.amin(1), groups.amax(1)
        if self._shared_rows > 1:
            low = self._of_blocks(self._in_blocks(low, math.inf).amin(2))
            high = self._of_blocks(self._in_blocks(high, -math.inf).amax(2))
        best_scale, best_zero = self._of_range(low, high)
        if self.clip is None:
            return best_scale, best_zero
        least = self._error(groups, best_scale, best_zero, importance)
        for factor in shrink_factors(self.clip.steps, self.clip.least)[1:]:
            self.progress.check_cancelled()
            scale, zero = self._of_range(low * factor, high * factor)
            error = self._error(groups, scale, zero, importance)
            better = error < least
            best_scale = torch.where(better, scale, best_scale)
            best_zero = torch.where(better, zero, best_zero)
            least = torch.where(better, error, least)
        return best_scale, best_zero

    def _of_range(self, low: Tensor, high: Tensor) -> tuple[Tensor, Tensor]:
        """The grid from `low` to `high` [spans, rows]."""
        settings, dtype = self.settings, scale_dtype(self.dtype)
        if settings.float_zero:
            middle = (low + high) / 2
            # No finer than the zero point can say where the group lies: constant weights have no range at all.
            least = middle.abs() * (torch.finfo(dtype).eps / 4)
            scale = self.rounded_to_stored(torch.maximum((high - low) / (2 * self._half - 1), least), middle)[0]
            return self.rounded_to_stored(scale, torch.where(high > low, -0.5, 0.0) - middle / scale)
        scale, zero = grid_of_range(
            low.reshape(-1, 1), high.reshape(-1, 1), bits=settings.bits, symmetric=settings.symmetric, scale_dtype=dtype
        )
        offset = torch.zeros_like(low) if zero is None else zero.float().sub_(self._half).view_as(low)
        return scale.float().view_as(low), offset

    def _error(self, groups: Tensor, scale: Tensor, zero: Tensor, importance: Tensor | None) -> Tensor:
        """Σ h·(w − ŵ)² per group [spans, rows]; where rows share their grid, the sum over them, for each of them."""
        scaled = groups / scale[:, None]
        if self.settings.float_zero:
            scaled.add_(zero[:, None])
            error = scaled.round().clamp_(-self._half, self._half - 1).sub_(scaled).square_()
        else:
            error = scaled.round().clamp_((-self._half - zero)[:, None], (self._half - 1 - zero)[:, None])
            error.sub_(scaled).square_()
        if importance is not None:
            error.mul_(importance)
        sums = error.sum(1).mul_(scale.square())
        if self._shared_rows == 1:
            return sums
        # Added in double precision, in an order that does not depend on the number of threads.
        return self._of_blocks(torch.from_numpy(self._in_blocks(sums, 0.0).double().numpy().sum(2)).float())

    def _in_blocks(self, per_row: Tensor, fill: float) -> Tensor:
        """[spans, rows] as [spans, blocks, rows of a block], with `fill` behind the last row."""
        padded = pad(per_row, (0, -per_row.shape[1] % self._shared_rows), value=fill)
        return padded.view(len(per_row), -1, self._shared_rows)

    def _of_blocks(self, per_block: Tensor) -> Tensor:
        """[spans, blocks] as [spans, rows]: to each row what its block has."""
        return per_block.repeat_interleave(self._shared_rows, 1)[:, : self.rows]


def scale_dtype(dtype: torch.dtype) -> torch.dtype:
    """Scales are stored in the weight's dtype; float64 weights keep float32 scales."""
    return torch.float32 if dtype == torch.float64 else dtype


def pack_columns(codes: Tensor, bits: int) -> Tensor:
    """Codes uint8 [rows, groups] packed along the rows' index: int32 [ceil(rows·bits / 32), groups]."""
    return pack_rows(codes.T.contiguous(), bits).T.contiguous()


def unpack_columns(packed: Tensor, bits: int, rows: int) -> Tensor:
    """The codes that `pack_columns` packed: uint8 [rows, groups]."""
    return unpack_rows(packed.T.contiguous(), bits, rows).T.contiguous()
