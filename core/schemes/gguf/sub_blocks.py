"""Sub-blocks of a matrix under one step each: least squares for given levels, and the search for levels.

Values are float32 [sub-blocks, size, rows]; steps and shifts are [sub-blocks, rows]. Sums are made by halving, so that
no result depends on the number of rows or threads.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.schemes.gguf.forms import Form

_FEW_LEVELS = 64
"""More than these, and it hardly matters which end of them is nearer to zero."""

_DRAWN_IN = 4
"""With so few levels, both ends of a range are drawn in, too."""

_SETTLING = 2
"""Rounds of least squares and rounding after the search."""


def halved_sums(values: Tensor) -> Tensor:
    """Sums over the second dimension, whose size is a power of two; float32 [sub-blocks, rows]."""
    while values.shape[1] > 1:
        middle = values.shape[1] // 2
        values = values[:, :middle] + values[:, middle:]
    return values[:, 0]


class Targets:
    """The values that sub-blocks should take, and what squared errors of them weigh.

    weights: [sub-blocks, size, rows or 1]; None for 1 throughout.
    """

    def __init__(self, values: Tensor, weights: Tensor | None) -> None:
        self.values = values
        self.weights = weights
        self.weighted = values if weights is None else values * weights
        size = values.new_full((len(values), 1), float(values.shape[1]))
        self.total = size if weights is None else halved_sums(weights)
        self.linear = halved_sums(self.weighted)
        self.square = halved_sums(self.weighted * values)

    def weigh(self, values: Tensor) -> Tensor:
        """The values float32 [sub-blocks, size, rows], each times its weight."""
        return values if self.weights is None else values * self.weights


@dataclass(frozen=True)
class LevelMoments:
    """Weighted sums over the levels l of sub-blocks with values x: Σ w l², Σ w l x, and, for shifts, Σ w l."""

    squares: Tensor
    products: Tensor
    levels: Tensor

    @staticmethod
    def of(targets: Targets, levels: Tensor, *, shifted: bool) -> LevelMoments:
        """Of levels float32 [sub-blocks, size, rows]; without `shifted`, Σ w l is left out."""
        weighed = targets.weigh(levels)
        first = halved_sums(weighed) if shifted else targets.linear
        return LevelMoments(halved_sums(weighed * levels), halved_sums(levels * targets.weighted), first)

    def where(self, chosen: Tensor, others: LevelMoments) -> LevelMoments:
        """These where `chosen` bool [sub-blocks, rows] says so, and the others elsewhere."""
        return LevelMoments(
            torch.where(chosen, self.squares, others.squares),
            torch.where(chosen, self.products, others.products),
            torch.where(chosen, self.levels, others.levels),
        )

    def error(self, targets: Targets, step: Tensor, shift: Tensor | None) -> Tensor:
        """Σ w (step · l − shift − x)² float32 [sub-blocks, rows], up to rounding errors."""
        found = targets.square + step * (step * self.squares - 2 * self.products)
        if shift is None:
            return found
        return found + shift * (2 * targets.linear + shift * targets.total - 2 * step * self.levels)

    def best(self, targets: Targets, form: Form) -> tuple[Tensor, Tensor | None]:
        """The step and the shift of least error, float32 [sub-blocks, rows]; integers are never negative."""
        alone = _ratio(self.products, self.squares)
        if not form.minima:
            return alone, None
        determinant = targets.total * self.squares - self.levels.square()
        step = _ratio(targets.total * self.products - targets.linear * self.levels, determinant)
        shift = _ratio(self.levels * self.products - self.squares * targets.linear, determinant)
        # Where all levels are one, a shift alone serves, if it may have the sign that it needs.
        flat = determinant <= 1e-6 * targets.total * self.squares
        mean = _ratio(targets.linear, targets.total)
        step, shift = torch.where(flat, 0.0, step), torch.where(flat, -mean, shift)
        if form.minima > 1:
            step, shift = torch.where(shift < 0, alone, step), shift.clamp(min=0.0)
        return step, shift


def searched(targets: Targets, form: Form, factors: Iterable[float]) -> tuple[Tensor, Tensor | None]:
    """The step and the shift float32 [sub-blocks, rows] of each sub-block, before they are rounded to what is stored.

    Raises ValueError when there is no factor to try.
    """
    best: tuple[Tensor, Tensor | None] | None = None
    least = torch.tensor(torch.inf)
    for step, shift in _candidates(targets.values, form, factors):
        best, least = _better(targets, form, step, shift, best, least)
    if best is None:
        raise ValueError("a search needs factors to try")
    for _ in range(_SETTLING):
        best, least = _better(targets, form, *best, best, least)
    return best


def _better(
    targets: Targets,
    form: Form,
    step: Tensor,
    shift: Tensor | None,
    best: tuple[Tensor, Tensor | None] | None,
    least: Tensor,
) -> tuple[tuple[Tensor, Tensor | None], Tensor]:
    """The best so far and the least-squares answer to the levels of `step` and `shift`, whichever errs less."""
    levels = rounded(targets.values, form, step, shift)
    moments = LevelMoments.of(targets, levels, shifted=bool(form.minima))
    found = moments.best(targets, form)
    error = error_of(targets, form, levels, moments, *found)
    if best is None:
        return found, error
    better = error < least
    taken = torch.where(better, found[0], best[0])
    if found[1] is None or best[1] is None:
        return (taken, None), torch.where(better, error, least)
    return (taken, torch.where(better, found[1], best[1])), torch.where(better, error, least)


def error_of(
    targets: Targets, form: Form, levels: Tensor, moments: LevelMoments, step: Tensor, shift: Tensor | None
) -> Tensor:
    """Σ w (step · l − shift − x)² float32 [sub-blocks, rows] of levels whose moments are known."""
    if len(form.levels) < _FEW_LEVELS:
        return moments.error(targets, step, shift)
    # So little is left that the difference of sums would be their rounding errors.
    return halved_sums(targets.weigh((levels * step[:, None]).sub_(targets.values).square_()))


def rounded(values: Tensor, form: Form, step: Tensor, shift: Tensor | None) -> Tensor:
    """The levels float32 nearest to `values` [sub-blocks, size, rows]."""
    moved = values if shift is None else values + shift[:, None]
    return form.nearest(moved / divisor(step)[:, None])


def divisor(step: Tensor) -> Tensor:
    """The step float32 [sub-blocks, rows], or 1 where it is zero, as any level serves there."""
    return torch.where(step == 0, 1.0, step)


def _candidates(values: Tensor, form: Form, factors: Iterable[float]) -> Iterable[tuple[Tensor, Tensor | None]]:
    low, high = values.amin(1), values.amax(1)
    if form.minima:
        if form.minima > 1:
            low, high = low.clamp(max=0.0), high.clamp(min=0.0)
        span = (high - low) / form.levels[-1]
        for factor in factors:
            # The lower end stays: least squares moves it once the levels are there.
            yield span * factor, -low
            if len(form.levels) <= _DRAWN_IN:
                shift = (high - low) * (factor / 2) - (high + low) / 2
                yield span * factor, shift.clamp(min=0.0) if form.minima > 1 else shift
        return
    # The weight of largest magnitude goes to one end of the levels or to the other, whichever its sign is.
    extreme = torch.where(-low > high, low, high)
    ends = (form.levels[0], form.levels[-1]) if len(form.levels) <= _FEW_LEVELS else (form.levels[-1],)
    for factor in factors:
        for end in ends if ends[0] != -ends[-1] else ends[-1:]:
            yield extreme * (factor / end), None


def _ratio(over: Tensor, under: Tensor) -> Tensor:
    return torch.where(under > 0, over / torch.where(under > 0, under, 1.0), 0.0)
