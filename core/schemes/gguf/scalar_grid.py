"""Types of single weights as solvers see them."""

from __future__ import annotations

from copy import copy

import torch
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.schemes.clip_search import ClipSearch
from benchvise.core.schemes.gguf.blocks import Contents, pack
from benchvise.core.schemes.gguf.forms import FORMS, Form
from benchvise.core.schemes.gguf.nested import as_half, fit_blocks, fit_sub_blocks, most_scale
from benchvise.core.schemes.gguf.sub_blocks import Targets, divisor, halved_sums, rounded, searched
from benchvise.core.schemes.grid import Grid
from benchvise.core.schemes.scale_rule import PowerOfTwoScale

_CHUNK_WEIGHTS = 1 << 17
"""Searched at a time: a few float32 copies of them lie in the caches."""

_FACTORS_TRIED = 9
_MIN_FACTORS = {3: 0.4, 4: 0.5, 8: 0.6, 16: 0.85, 32: 0.9, 64: 0.92}
"""By the number of levels, how far the range of a sub-block is drawn in at most."""

_GREATEST_FACTOR = 1.05

_FLOAT4_EXPONENT = 2
"""Of the largest power of two among the numbers of E2M1."""


class ScalarGrid(Grid):
    """ŵ = step · level − shift, rounded to the weight's dtype.

    multiplier, shift: float32 [sub-blocks, rows]: the step and the shift, as the stored numbers give them.
    A span is a sub-block. A fit of whole blocks chooses the scales of blocks too; a fit of single sub-blocks, their
    integers under the scales of the last fit of their block.
    """

    def __init__(
        self, name: GgufName, rows: int, columns: int, dtype: torch.dtype, *, clip: ClipSearch | None = None
    ) -> None:
        self.form = FORMS[name]
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span = self.form.size
        self.nested = self.form.nested
        self._factors = _factors(self.form, clip)
        self._reach = min(torch.finfo(dtype).max, torch.finfo(torch.float32).max)
        blocks, spans = columns // self.form.weights, columns // self.span
        self.scale, self.minimum = torch.ones(blocks, rows), torch.zeros(blocks, rows)
        self.steps, self.shifts = torch.ones(spans, rows), torch.zeros(spans, rows)
        self.multiplier, self.shift = torch.ones(spans, rows), torch.zeros(spans, rows)

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        rows, columns = values.shape
        spans = slice(start // self.span, (start + columns) // self.span)
        weights = None if importance is None else importance.reshape(-1, self.span, 1)
        groups = values.T.reshape(-1, self.span, rows)
        step = max(1, _CHUNK_WEIGHTS // max(1, columns))
        for row in range(0, rows, step):
            self._fit_rows(
                spans, slice(row, min(rows, row + step)), groups[..., row : row + step].contiguous(), weights
            )

    def encode(self, start: int, values: Tensor) -> Tensor:
        step, shift = self._parameters(start, values.shape[1])
        return self.form.encode((values + shift).div_(divisor(step))).to(torch.uint8)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        step, shift = self._parameters(start, codes.shape[1])
        return self.form.decode(codes).mul_(step).sub_(shift).to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        kind, blocks = TYPES[self.form.name], len(self.scale) * self.rows
        steps = shifts = None
        if self.form.nested:
            steps = self.steps.T.reshape(blocks, -1).add(self.form.offset).to(torch.uint8)
            shifts = self.shifts.T.reshape(blocks, -1).to(torch.uint8) if self.form.minima else None
        packed = pack(self.form.name, Contents(codes.reshape(blocks, -1), steps, shifts))
        numbers = dict(zip((name for name, _ in kind.scales), (self.scale.T, self.minimum.T), strict=False))
        if self.form.power_of_two:
            numbers = {"weight_scale": _power_bytes(self.scale.T)}
        else:
            numbers = {name: number.to(torch.float16).contiguous() for name, number in numbers.items()}
        return {"weight_packed": packed.view(self.rows, -1), **numbers}

    def part(self, start: int, stop: int) -> ScalarGrid:
        """The fitted grid as rows start to stop see it, for encoding and decoding."""
        part = copy(self)
        part.rows, part.multiplier, part.shift = stop - start, self.multiplier[:, start:stop], self.shift[:, start:stop]
        return part

    def _fit_rows(self, spans: slice, rows: slice, groups: Tensor, weights: Tensor | None) -> None:
        form, per_block = self.form, self.form.weights // self.form.size
        targets = Targets(groups, weights)
        if form.power_of_two:
            self.scale[spans, rows] = self.multiplier[spans, rows] = _power_search(targets, form, self._reach)
            return
        step, shift = searched(targets, form, self._factors)
        if not form.nested:
            self.scale[spans, rows] = self.multiplier[spans, rows] = as_half(step, most_scale(form, self._reach))
            if shift is not None:
                self.shift[spans, rows] = as_half(shift, self._reach)
                self.minimum[spans, rows] = -self.shift[spans, rows]
            return
        blocks = slice(spans.start // per_block, -(-spans.stop // per_block))
        within = torch.arange(spans.start, spans.stop) // per_block - blocks.start
        if spans.start % per_block or spans.stop % per_block:
            scale, minimum = self.scale[blocks, rows][within], self.minimum[blocks, rows][within]
            steps, shifts = fit_sub_blocks(targets, form, scale, minimum, step, shift)
        else:
            found = fit_blocks(targets, form, step, shift, self._reach)
            self.scale[blocks, rows], self.minimum[blocks, rows] = found.scale, found.minimum
            steps, shifts = found.steps, found.shifts
        self.steps[spans, rows], self.shifts[spans, rows] = steps, shifts
        self.multiplier[spans, rows] = self.scale[blocks, rows][within] * steps
        self.shift[spans, rows] = self.minimum[blocks, rows][within] * shifts

    def _parameters(self, start: int, columns: int) -> tuple[Tensor, Tensor]:
        """Step and shift of each of the columns, [rows, columns], or [rows, 1] within one sub-block."""
        first, last = start // self.span, (start + columns - 1) // self.span
        if first == last:
            return self.multiplier[first][:, None], self.shift[first][:, None]
        spans = torch.arange(start, start + columns) // self.span
        return self.multiplier[spans].T, self.shift[spans].T


def _factors(form: Form, clip: ClipSearch | None) -> list[float]:
    """What the range of a sub-block is multiplied with, one after the other; 1 comes first, as of equals it wins."""
    least = _MIN_FACTORS.get(len(form.levels), 0.97)
    tried, least = (clip.steps, min(clip.least, least)) if clip is not None else (_FACTORS_TRIED, least)
    return [1.0, *torch.linspace(least, _GREATEST_FACTOR, tried).tolist()]


def _power_search(targets: Targets, form: Form, reach: float) -> Tensor:
    """The scale [blocks, rows] of MXFP4: the power of two that its definition takes, or a neighbour that errs less."""
    rule = PowerOfTwoScale(torch.float32, form.levels[-1] / 2, _FLOAT4_EXPONENT, (0, 1, -1))
    best, least = torch.tensor(0.0), torch.tensor(torch.inf)
    for power in rule.first(targets.values.abs().amax(1)):
        scale = (power / 2).clamp(max=reach / form.levels[-1])
        error = halved_sums(
            targets.weigh((rounded(targets.values, form, scale, None) * scale[:, None]).sub_(targets.values).square_())
        )
        best, least = torch.where(error < least, scale, best), torch.minimum(error, least)
    return best


def _power_bytes(scale: Tensor) -> Tensor:
    """E8M0 of the powers of two whose halves are `scale` [rows, blocks]."""
    return torch.frexp(scale)[1].add_(127).to(torch.uint8).view(torch.float8_e8m0fnu).contiguous()
