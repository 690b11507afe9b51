"""Types of vectors as solvers see them."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.methods.gguf import GgufName
from benchvise.core.schemes.gguf.blocks import Contents, pack
from benchvise.core.schemes.gguf.nested import as_half
from benchvise.core.schemes.gguf.sub_blocks import divisor, halved_sums
from benchvise.core.schemes.gguf.vector_forms import DELTA, VECTOR_FORMS
from benchvise.core.schemes.grid import Grid

_CHUNK_WEIGHTS = 1 << 18
_FACTORS = (0.95, 1.15, 0.85, 0.75, 0.65, 0.55, 0.45)
"""Where the largest magnitude of a sub-block may lie, compared with that of the table's vectors."""

_SCALES_TRIED = 24
_ROUNDS = 2


@dataclass(frozen=True)
class _Served:
    """Sub-blocks under steps [rows, sub-blocks]: the error, and the step of least error for the vectors found."""

    step: Tensor
    error: Tensor
    squares: Tensor
    products: Tensor


class GgufVectorGrid(Grid):
    """ŵ = scale · unit · (½ + integer) · vector, rounded to the weight's dtype.

    scale: float32 [rows, blocks], numbers of 16 bits; integers, moved: float32 [rows, sub-blocks], the second +1 or −1
    where a sub-block's vectors are moved up or down. A span is a sub-block. `encode` weighs errors by the importance of
    the last fit, since a vector that is nearest in all its columns together depends on it.
    """

    nested = True

    def __init__(self, name: GgufName, rows: int, columns: int, dtype: torch.dtype) -> None:
        self.form = VECTOR_FORMS[name]
        self.rows, self.columns, self.dtype = rows, columns, dtype
        self.span, self.step = self.form.size, self.form.step
        spans = columns // self.span
        greatest = self.form.largest * self.form.unit * (0.5 + self.form.greatest)
        self._most = min(torch.finfo(dtype).max, torch.finfo(torch.float32).max) / greatest
        self.scale = torch.ones(rows, columns // self.form.weights)
        self.integers, self.moved = torch.zeros(rows, spans), torch.ones(rows, spans)
        self.importance: Tensor | None = None

    def fit(self, start: int, values: Tensor, importance: Tensor | None = None) -> None:
        rows, columns = values.shape
        self._note(start, columns, importance)
        weights = None if importance is None else self.importance
        if weights is not None:
            weights = weights[start : start + columns].view(-1, self.span)
        whole = not start % self.form.weights and not columns % self.form.weights
        spans = slice(start // self.span, (start + columns) // self.span)
        step = max(1, _CHUNK_WEIGHTS // columns)
        for row in range(0, rows, step):
            self.progress.check_cancelled()
            part = slice(row, min(rows, row + step))
            targets = values[part].reshape(-1, columns // self.span, self.span)
            if whole:
                self._fit_blocks(part, spans, targets, weights)
            else:
                self._fit_sub_blocks(part, spans, targets, weights)

    def encode(self, start: int, values: Tensor) -> Tensor:
        step, moved = self._parameters(start, values.shape[1])
        positions = values / divisor(step)
        if self.form.shifts == "sub-block":
            positions = positions - DELTA * moved
        weights = None
        if self.importance is not None:
            weights = self.importance[start : start + values.shape[1]].view(-1, self.step)
        return self.form.encode(positions.reshape(len(values), -1, self.step), weights)

    def decode(self, start: int, codes: Tensor) -> Tensor:
        step, moved = self._parameters(start, codes.shape[1] * self.step)
        vectors = self.form.decode(codes.long()).flatten(1)
        if self.form.shifts == "sub-block":
            vectors = vectors + DELTA * moved
        return (vectors * step).to(self.dtype).float()

    def stored(self, codes: Tensor) -> dict[str, Tensor]:
        blocks = self.scale.numel()
        minima = None
        if self.form.shifts == "sub-block":
            minima = (self.moved < 0).to(torch.uint8).view(blocks, -1)
        contents = Contents(codes.reshape(blocks, -1).long(), self.integers.to(torch.uint8).view(blocks, -1), minima)
        packed = pack(self.form.name, contents).view(self.rows, -1)
        return {"weight_packed": packed, "weight_scale": self.scale.to(torch.float16)}

    def _note(self, start: int, columns: int, importance: Tensor | None) -> None:
        """Keep the importance of columns, with none below a millionth of the largest."""
        if importance is None or not bool((importance > 0).any()):
            if columns == self.columns:
                self.importance = None
            return
        if self.importance is None:
            self.importance = torch.ones(self.columns)
        self.importance[start : start + columns] = importance.clamp(min=1e-6 * float(importance.max()))

    def _fit_blocks(self, rows: slice, spans: slice, targets: Tensor, weights: Tensor | None) -> None:
        form, per_block = self.form, self.form.weights // self.span
        blocks = slice(spans.start // per_block, spans.stop // per_block)
        best, moved = self._searched(targets, weights)
        scale, integers = self._best_scale(best)
        for _ in range(_ROUNDS):
            integers, served = self._best_integers(targets, weights, scale, integers, moved)
            factor = form.unit * (0.5 + integers)
            under = self._over_blocks(factor.square() * served.squares)
            over = self._over_blocks(factor * served.products)
            again = torch.where(under > 0, over / torch.where(under > 0, under, 1.0), scale)
            scale = as_half(torch.where(again > 0, again, scale), self._most)
        integers, _ = self._best_integers(targets, weights, scale, integers, moved)
        self.scale[rows, blocks], self.integers[rows, spans], self.moved[rows, spans] = scale, integers, moved

    def _fit_sub_blocks(self, rows: slice, spans: slice, targets: Tensor, weights: Tensor | None) -> None:
        """The integers near to those of the last fit, under the scales of the blocks."""
        blocks = torch.arange(spans.start, spans.stop) // (self.form.weights // self.span)
        scale, integers = self.scale[rows][:, blocks], self.integers[rows, spans]
        moved = self.moved[rows, spans]
        served = self._serve(targets, weights, scale * self._factor(integers), moved)
        first = self._integers(served.step, scale)
        if self.form.shifts == "sub-block":
            other = self._serve(targets, weights, scale * self._factor(integers), -moved)
            moved = torch.where(other.error < served.error, -moved, moved)
            first = torch.where(other.error < served.error, self._integers(other.step, scale), first)
        found, _ = self._best_integers(targets, weights, scale, first, moved)
        self.integers[rows, spans], self.moved[rows, spans] = found, moved

    def _searched(self, targets: Tensor, weights: Tensor | None) -> tuple[_Served, Tensor]:
        """Each sub-block under the step that serves it best, whatever its block's scale, and which way it is moved."""
        largest = targets.abs().amax(2) / self.form.largest
        best: _Served | None = None
        up = torch.ones_like(largest)
        moved = up
        for way in (up, -up) if self.form.shifts == "sub-block" else (up,):
            for factor in _FACTORS:
                found = self._serve(targets, weights, largest * factor, way)
                if best is None:
                    best = found
                    continue
                better = found.error < best.error
                moved = torch.where(better, way, moved)
                best = _chosen(better, found, best)
        if best is None:
            raise ValueError("no steps were tried")
        return best, moved

    def _best_integers(
        self, targets: Tensor, weights: Tensor | None, scale: Tensor, first: Tensor, moved: Tensor
    ) -> tuple[Tensor, _Served]:
        """The best of the first integers and their neighbours under scales [rows, blocks or sub-blocks]."""
        spread = scale if scale.shape == first.shape else scale.repeat_interleave(self.form.weights // self.span, 1)
        best: _Served | None = None
        chosen = first
        for away in (0, -1, 1):
            integers = (first + away).clamp(0, self.form.greatest)
            found = self._serve(targets, weights, spread * self._factor(integers), moved)
            if best is None:
                best, chosen = found, integers
                continue
            better = found.error < best.error
            chosen, best = torch.where(better, integers, chosen), _chosen(better, found, best)
        if best is None:
            raise ValueError("no integers were tried")
        return chosen, best

    def _serve(self, targets: Tensor, weights: Tensor | None, step: Tensor, moved: Tensor) -> _Served:
        """What vectors under `step` [rows, sub-blocks] make of targets [rows, sub-blocks, span]."""
        rows, spans, size = targets.shape
        positions = targets / divisor(step)[..., None]
        if self.form.shifts == "sub-block":
            positions = positions - DELTA * moved[..., None]
        of_codes = None if weights is None else weights.reshape(-1, self.step)
        codes = self.form.encode(positions.reshape(rows, -1, self.step), of_codes)
        vectors = self.form.decode(codes).view(rows, spans, size)
        if self.form.shifts == "sub-block":
            vectors = vectors + DELTA * moved[..., None]
        weighed = vectors if weights is None else vectors * weights
        squares, products = _sums(weighed * vectors), _sums(weighed * targets)
        off = (vectors * step[..., None]).sub_(targets).square_()
        error = _sums(off if weights is None else off.mul_(weights))
        best = torch.where(products > 0, products / torch.where(squares > 0, squares, 1.0), step)
        return _Served(best, error, squares, products)

    def _best_scale(self, best: _Served) -> tuple[Tensor, Tensor]:
        """The scale [rows, blocks] and integers [rows, sub-blocks] that come nearest to the best steps."""
        form, per_block = self.form, self.form.weights // self.span
        wanted = best.step
        extreme = wanted.view(len(wanted), -1, per_block).amax(2) / form.unit
        scale, fewest, integers = extreme, torch.tensor(torch.inf), wanted
        for tried in range(_SCALES_TRIED):
            place = (0.5 + form.greatest) * (1.05 - 0.5 * tried / (_SCALES_TRIED - 1))
            candidate = as_half(extreme / place, self._most)
            spread = candidate.repeat_interleave(per_block, 1)
            found = self._integers(wanted, spread)
            error = self._over_blocks(best.squares * (spread * self._factor(found) - wanted).square())
            better = error < fewest
            scale, fewest = torch.where(better, candidate, scale), torch.where(better, error, fewest)
            integers = torch.where(better.repeat_interleave(per_block, 1), found, integers)
        return scale, integers

    def _factor(self, integers: Tensor) -> Tensor:
        return self.form.unit * (0.5 + integers)

    def _integers(self, step: Tensor, scale: Tensor) -> Tensor:
        units = torch.where(scale > 0, self.form.unit * scale, torch.inf)
        return (step / units - 0.5).round_().clamp_(0, self.form.greatest)

    def _over_blocks(self, of_sub_blocks: Tensor) -> Tensor:
        return _sums(of_sub_blocks.view(len(of_sub_blocks), -1, self.form.weights // self.span))

    def _parameters(self, start: int, columns: int) -> tuple[Tensor, Tensor]:
        """Step and direction of each of the columns, [rows, columns]."""
        spans = torch.arange(start, start + columns) // self.span
        blocks = torch.arange(start, start + columns) // self.form.weights
        return self.scale[:, blocks] * self._factor(self.integers[:, spans]), self.moved[:, spans]


def _chosen(better: Tensor, one: _Served, other: _Served) -> _Served:
    return _Served(
        torch.where(better, one.step, other.step),
        torch.where(better, one.error, other.error),
        torch.where(better, one.squares, other.squares),
        torch.where(better, one.products, other.products),
    )


def _sums(values: Tensor) -> Tensor:
    """Sums over the last of three dimensions, in an order that depends on nothing."""
    return halved_sums(values.flatten(0, 1)[..., None])[:, 0].view(values.shape[:2])
