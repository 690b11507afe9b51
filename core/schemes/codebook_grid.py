"""Stored code books as solvers see them: sorted levels per tensor, row or group."""

from __future__ import annotations

from math import gcd

import torch
from torch import Tensor

from benchvise.core.kernels.packing import pack_rows
from benchvise.core.methods.codebook import Codebook
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.integer_grid import scale_dtype
from benchvise.core.schemes.normal_float import middles
from benchvise.core.schemes.scalar_codebook_fit import kmeans_levels, quantile_levels

_SAMPLE = 1 << 22
"""Weights of a whole tensor that its levels are found from; more hardly move them."""


class CodebookGrid(Grid):
    """Levels are kept as float32 [spans, rows, levels], or [1, 1, levels] for the whole tensor.

    They are searched on the CPU, in one order whatever the device.
    """

    def __init__(self, settings: Codebook, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.settings = settings
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = settings.group_columns(columns)
        self._whole = settings.granularity == "tensor"
        books = (1, 1) if self._whole else (columns // self.span, rows)
        self.levels = torch.zeros(*books, settings.levels)
        self._middles = middles(self.levels)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        weights = None if importance is None else importance.float().cpu()
        levels = self._whole_levels(values, weights) if self._whole else self._levels(values, weights)
        levels = levels.to(scale_dtype(self.dtype)).float().to(values.device)
        first = start // self.span
        if self.levels.device != values.device:
            self.levels, self._middles = self.levels.to(values.device), self._middles.to(values.device)
        self.levels[first : first + len(levels)] = levels
        self._middles[first : first + len(levels)] = middles(levels)

    def encode(self, start: int, values: Tensor) -> Tensor:
        rows, columns = values.shape
        if self._whole:
            return torch.bucketize(values.contiguous(), self._middles[0, 0], out_int32=True).to(torch.uint8)
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return torch.searchsorted(self._middles[first], values.contiguous(), out_int32=True).to(torch.uint8)
        if start % self.span == 0 and columns % self.span == 0:
            spans = values.reshape(rows, -1, self.span).transpose(0, 1).contiguous()
            codes = torch.searchsorted(self._middles[first : last + 1], spans, out_int32=True)
            return codes.to(torch.uint8).transpose(0, 1).reshape(rows, columns)
        middle = self._middles[self._span_of(start, columns)]
        codes = torch.searchsorted(middle, values.T.contiguous()[..., None], out_int32=True)
        return codes[..., 0].to(torch.uint8).T

    def decode(self, start: int, codes: Tensor) -> Tensor:
        rows, columns = codes.shape
        if self._whole:
            return self.levels[0, 0][codes.int()]
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.levels[first].gather(1, codes.long())
        if start % self.span == 0 and columns % self.span == 0:
            spans = codes.reshape(rows, -1, self.span).transpose(0, 1).long()
            return self.levels[first : last + 1].gather(2, spans).transpose(0, 1).reshape(rows, columns)
        return self.levels[self._span_of(start, columns)].gather(2, codes.T.long()[..., None])[..., 0].T

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        book = self.levels.to(scale_dtype(self.dtype))
        book = book.transpose(0, 1) if self.settings.granularity == "group" else book[0]
        return {
            "weight_packed": pack_rows(codes.contiguous(), self.settings.bits),
            "weight_codebook": book.contiguous(),
        }

    def _span_of(self, start: int, columns: int) -> Tensor:
        return torch.arange(start, start + columns, device=self.levels.device) // self.span

    def _levels(self, values: Tensor, importance: Tensor | None) -> Tensor:
        """float32 [spans, rows, levels] of whole spans."""
        rows, spans = len(values), values.shape[1] // self.span
        units = values.cpu().reshape(rows * spans, self.span)
        weights = None
        if importance is not None:
            weights = importance.view(1, spans, self.span).expand(rows, -1, -1).reshape(rows * spans, self.span)
        return self._searched(units, weights).view(rows, spans, -1).transpose(0, 1)

    def _whole_levels(self, values: Tensor, importance: Tensor | None) -> Tensor:
        """float32 [1, 1, levels] of the whole tensor."""
        sample, weights = _sample(values.cpu(), importance)
        levels = self._searched(sample, weights)
        if sample.numel() < values.numel() and (levels[0].diff() == 0).any():
            # So few distinct values that the sample may have missed one.
            distinct = distinct_sorted(values.cpu().reshape(-1).sort().values)
            if len(distinct) <= self.settings.levels:
                levels = self._searched(distinct[None], None)
        return levels[None]

    def _searched(self, units: Tensor, weights: Tensor | None) -> Tensor:
        if self.settings.kind == "quantile":
            return quantile_levels(units, self.settings.levels, self.progress)
        return kmeans_levels(units, self.settings.levels, weights, self.progress)


def distinct_sorted(ascending: Tensor) -> Tensor:
    """The values [n] of `ascending` [m], of any dtype, without repetitions."""
    return ascending[torch.nn.functional.pad(ascending.diff() != 0, (1, 0), value=True)]


def _sample(values: Tensor, importance: Tensor | None) -> tuple[Tensor, Tensor | None]:
    """At most `_SAMPLE` values [1, n] of a matrix, evenly over rows and columns, and their columns' importance."""
    stride = -(-values.numel() // _SAMPLE)
    while gcd(stride, values.shape[1]) > 1:
        stride += 1
    taken = torch.arange(0, values.numel(), stride)
    sample = values.reshape(-1)[taken][None]
    return sample, None if importance is None else importance[taken % values.shape[1]][None]
