"""Elements times a scale per cell of the matrix: what floating and non-linear schemes have in common."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from copy import copy
from functools import partial

import torch
from torch import Tensor
from torch.nn.functional import pad

from benchvise.core.schemes.element import Element
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.scale_rule import ScaleRule

Passes = Callable[[], Iterator[tuple[int, Tensor]]]
"""Reads a matrix once more: (first row, float32 rows [n, columns]), in order."""

_CHUNK_WEIGHTS = 1 << 17


class ScaledGrid(Grid):
    """ŵ = element · step, rounded to the weight's dtype.

    A cell is `row_span` rows by `span` columns; the last ones may be smaller. scale: float32 [cells, spans] as it is
    stored; steps: float32 [spans, rows], so that those of one span lie together.
    """

    def __init__(
        self, element: Element, rule: ScaleRule, shape: tuple[int, int], cell: tuple[int, int], dtype: torch.dtype
    ) -> None:
        self.element, self.rule, self.dtype = element, rule, dtype
        self.nested = rule.over_matrix
        self.rows, self.columns = shape
        self.row_span, self.span = min(cell[0], max(1, shape[0])), min(cell[1], max(1, shape[1]))
        self.scale = torch.ones(-(-self.rows // self.row_span), -(-self.columns // self.span))
        self.steps = torch.ones(self.scale.shape[1], self.rows)

    @property
    def crosses_rows(self) -> bool:
        """Whether rows share parameters, so that they cannot be found for a part of the rows."""
        return self.row_span > 1 or self.rule.over_matrix

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        self.fit_passes(start, values.shape[1], lambda: iter([(0, values)]), importance)

    def fit_passes(self, start: int, columns: int, passes: Passes, importance: Tensor | None = None) -> None:
        """As `fit`, for all rows of `columns` columns from `start` on, read as often as needed."""
        if self.rule.over_matrix and columns == self.columns:
            self.rule.observe(max(float(rows.abs().amax()) for _, rows in passes()))
        spans = slice(start // self.span, start // self.span - (-columns // self.span))
        if self.row_span > 1:
            self._keep(slice(None), spans, self._found(partial(_chunks, passes), self.rows, importance))
            return
        for top, rows in _chunks(passes):
            found = self._found(partial(_alone, rows), len(rows), importance)
            self._keep(slice(top, top + len(rows)), spans, found)

    def encode(self, start: int, values: Tensor) -> Tensor:
        return self.element.encode(values / self._steps(start, values.shape[1]))

    def decode(self, start: int, codes: Tensor) -> Tensor:
        return self._computed(self.element.decode(codes).mul_(self._steps(start, codes.shape[1])))

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        return self.element.stored(codes) | self.parameters()

    def parameters(self) -> dict[str, Tensor]:
        """The stored tensors that hold the scales."""
        return self.rule.stored(self.scale)

    def part(self, start: int, stop: int) -> ScaledGrid:
        """The fitted grid as rows start to stop see it, for encoding and decoding."""
        part = copy(self)
        part.rows, part.steps = stop - start, self.steps[:, start:stop]
        return part

    def _found(self, passes: Passes, rows: int, importance: Tensor | None) -> Tensor:
        """The best scale of each cell [cells, spans] in `rows` rows."""
        per_row = torch.cat([self._by_span(part).abs().amax(2) for _, part in passes()])
        scales = self.rule.first(self._in_cells(per_row).amax(1))
        if len(scales) == 1:
            return scales[0]
        best, least = _least(scales, self._errors(passes, rows, scales, importance))
        closer = self.rule.closer(best)
        if not closer:
            return best
        return _least([best, *closer], [least, *self._errors(passes, rows, closer, importance)])[0]

    def _errors(self, passes: Passes, rows: int, scales: list[Tensor], importance: Tensor | None) -> list[Tensor]:
        """Σ h·(w − ŵ)² of each cell, float64 [cells, spans], for each of the scales."""
        sums = [torch.empty(rows, scales[0].shape[1]) for _ in scales]
        for top, values in passes():
            parts = self._by_span(values)
            weights = self._weights_of(parts, values.shape[1], importance)
            cell = torch.arange(top, top + len(values)) // self.row_span
            for scale, found in zip(scales, sums, strict=True):
                self.progress.check_cancelled()
                step = self.rule.step(scale[cell])[..., None]
                decoded = self._computed(self.element.decode(self.element.encode(parts / step)).mul_(step))
                error = decoded.sub_(parts).square_()
                found[top : top + len(values)] = _sums(error if weights is None else error.mul_(weights))
        # Rows are added in an order that depends on nothing.
        return [torch.from_numpy(self._in_cells(found).double().numpy().sum(1)) for found in sums]

    def _weights_of(self, parts: Tensor, columns: int, importance: Tensor | None) -> Tensor | None:
        """Weights of the error [spans, span], zero behind the last column; None when all are 1."""
        if importance is None and parts.shape[1] * self.span == columns:
            return None
        weights = parts.new_ones(1, columns) if importance is None else importance[None, :]
        return self._by_span(weights)[0]

    def _by_span(self, values: Tensor) -> Tensor:
        """[rows, columns] as [rows, spans, span], with zeros behind the last column."""
        missing = -values.shape[1] % self.span
        padded = pad(values, (0, missing)) if missing else values
        return padded.reshape(len(values), -1, self.span)

    def _in_cells(self, per_row: Tensor) -> Tensor:
        """[rows, spans] as [cells, rows of a cell, spans], with zeros behind the last row."""
        missing = -len(per_row) % self.row_span
        padded = pad(per_row, (0, 0, 0, missing)) if missing else per_row
        return padded.view(-1, self.row_span, per_row.shape[1])

    def _computed(self, values: Tensor) -> Tensor:
        return values.to(self.dtype).float() if self.dtype.itemsize < values.itemsize else values

    def _keep(self, cells: slice, spans: slice, scale: Tensor) -> None:
        self.scale = self.scale.to(scale.device)
        self.steps = self.steps.to(scale.device)
        self.scale[cells, spans] = scale
        step = self.rule.step(scale)
        self.steps[spans, cells] = (
            step.T if self.row_span == 1 else step.repeat_interleave(self.row_span, 0)[: self.rows].T
        )

    def _steps(self, start: int, columns: int) -> Tensor:
        """The step of each of the columns, [rows, columns], or [rows, 1] within one span."""
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.steps[first][:, None]
        spans = torch.arange(start, start + columns, device=self.steps.device) // self.span
        return self.steps[spans].T


def spread(steps: Tensor, cell: tuple[int, int], rows: range, columns: int) -> Tensor:
    """The step of every weight in some rows, [rows, columns] or [rows, 1], from steps [cells, spans] of any dtype."""
    per_row = steps[torch.arange(rows.start, rows.stop, device=steps.device) // cell[0]]
    if per_row.shape[1] == 1:
        return per_row
    return per_row.repeat_interleave(cell[1], 1)[:, :columns]


def _least(scales: list[Tensor], errors: list[Tensor]) -> tuple[Tensor, Tensor]:
    """Of each cell the scale with the least error, of equal ones the first, and that error."""
    best, least = scales[0], errors[0]
    for scale, error in zip(scales[1:], errors[1:], strict=True):
        better = error < least
        best, least = torch.where(better, scale, best), torch.where(better, error, least)
    return best, least


def _chunks(passes: Passes) -> Iterator[tuple[int, Tensor]]:
    """The rows again in parts that stay in a processor's cache."""
    for top, rows in passes():
        size = max(1, _CHUNK_WEIGHTS // max(1, rows.shape[1]))
        for start in range(0, len(rows), size):
            yield top + start, rows[start : start + size].contiguous()


def _alone(rows: Tensor) -> Iterator[tuple[int, Tensor]]:
    yield 0, rows


def _sums(errors: Tensor) -> Tensor:
    """Sums over the last dimension [rows, spans], in an order that does not depend on the number of threads."""
    if errors.shape[0] * errors.shape[1] == 1:
        # torch splits a single sum between its threads, which changes the order; of two sums each is done by one.
        return errors.expand(2, -1, -1).contiguous().sum(2)[:1]
    return errors.sum(2)
