"""Two levels of scales: integers for the steps and shifts of sub-blocks, under one 16-bit scale of each for the block.

Sub-blocks are [sub-blocks, rows], those of one block after another; blocks are [blocks, rows].
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from benchvise.core.schemes.gguf.forms import Form
from benchvise.core.schemes.gguf.sub_blocks import LevelMoments, Targets, error_of, halved_sums, rounded

_SCALES_TRIED = 24
_ROUNDS = 2


@dataclass(frozen=True)
class Nested:
    """scale, minimum: float32 [blocks, rows], numbers of 16 bits; the second zero for forms without shifts.

    steps, shifts: whole numbers, float32 [sub-blocks, rows].
    """

    scale: Tensor
    minimum: Tensor
    steps: Tensor
    shifts: Tensor


def fit_blocks(targets: Targets, form: Form, step: Tensor, shift: Tensor | None, reach: float) -> Nested:
    """The scales of whole blocks and the integers of their sub-blocks, near to the steps and shifts of least error.

    step, shift: float32 [sub-blocks, rows].
    reach: the greatest magnitude that a weight may be given.
    """
    levels = rounded(targets.values, form, step, shift)
    moments = LevelMoments.of(targets, levels, shifted=bool(form.minima))
    found = _chosen(targets, moments, form, step, shift, reach)
    for _ in range(_ROUNDS):
        steps, shifts, moments = _fit_integers_of(targets, form, found)
        found = _scales_again(targets, moments, form, Nested(found.scale, found.minimum, steps, shifts), reach)
    steps, shifts, _ = _fit_integers_of(targets, form, found)
    return Nested(found.scale, found.minimum, steps, shifts)


def fit_sub_blocks(
    targets: Targets, form: Form, scale: Tensor, minimum: Tensor, step: Tensor, shift: Tensor | None
) -> tuple[Tensor, Tensor]:
    """The integers of single sub-blocks, near to the steps and shifts of least error.

    scale, minimum: of the block of each, float32 [sub-blocks, rows].
    """
    steps = _integers(step, scale, form.least, form.greatest)
    shifts = torch.zeros_like(steps) if shift is None else _integers(shift, minimum, 0, form.minima)
    steps, shifts, _ = _fit_integers(targets, form, scale, minimum, steps, shifts)
    return steps, shifts


def _fit_integers_of(targets: Targets, form: Form, found: Nested) -> tuple[Tensor, Tensor, LevelMoments]:
    scale, minimum = _of_sub_blocks(found.scale, form), _of_sub_blocks(found.minimum, form)
    return _fit_integers(targets, form, scale, minimum, found.steps, found.shifts)


def _fit_integers(
    targets: Targets, form: Form, scale: Tensor, minimum: Tensor, first_steps: Tensor, first_shifts: Tensor
) -> tuple[Tensor, Tensor, LevelMoments]:
    """The best of the first integers and their neighbours, and the moments of their levels."""
    best: tuple[Tensor, Tensor, LevelMoments] | None = None
    least = torch.tensor(torch.inf)
    for away in (0, -1, 1):
        steps = (first_steps + away).clamp(form.least, form.greatest)
        step, shifts = scale * steps, first_shifts
        if form.minima and best is not None:
            shifts = _best_shifts(targets, best[2], step, minimum, form)
        levels = rounded(targets.values, form, step, minimum * shifts if form.minima else None)
        moments = LevelMoments.of(targets, levels, shifted=bool(form.minima))
        if form.minima:
            shifts = _best_shifts(targets, moments, step, minimum, form)
        error = error_of(targets, form, levels, moments, step, minimum * shifts if form.minima else None)
        if best is None:
            best, least = (steps, shifts, moments), error
            continue
        better = error < least
        least = torch.where(better, error, least)
        best = (
            torch.where(better, steps, best[0]),
            torch.where(better, shifts, best[1]),
            moments.where(better, best[2]),
        )
    if best is None:
        raise ValueError("no integers were tried")
    return best


def as_half(values: Tensor, most: float) -> Tensor:
    """The 16-bit numbers nearest to `values` [blocks, rows] with a magnitude of `most` or less, in float32."""
    limit = torch.tensor(min(most, torch.finfo(torch.float16).max)).to(torch.float16)
    if float(limit) > most:
        limit = torch.nextafter(limit, torch.zeros_like(limit))
    return values.clamp(-float(limit), float(limit)).to(torch.float16).float()


def most_scale(form: Form, reach: float) -> float:
    """The greatest scale of a block with which no weight passes `reach`."""
    return reach / (max(-form.levels[0], form.levels[-1]) * max(-form.least, form.greatest))


def _chosen(
    targets: Targets, moments: LevelMoments, form: Form, step: Tensor, shift: Tensor | None, reach: float
) -> Nested:
    """Scales whose integers cost least over all sub-blocks, the levels given."""
    if shift is None:
        scale, steps = _best_scale(step, moments.squares, form.least, form.greatest, form, most_scale(form, reach))
        return Nested(scale, torch.zeros_like(scale), steps, torch.zeros_like(steps))
    free = moments.squares - moments.levels.square() / targets.total.clamp(min=torch.finfo(torch.float32).tiny)
    scale, steps = _best_scale(step, free.clamp(min=0.0), form.least, form.greatest, form, most_scale(form, reach))
    wanted = _wanted_shift(targets, moments, _of_sub_blocks(scale, form) * steps).clamp(min=0.0)
    weight = targets.total.expand_as(wanted)
    minimum, shifts = _best_scale(wanted, weight, 0, form.minima, form, reach / form.minima)
    return Nested(scale, minimum, steps, shifts)


def _best_scale(
    wanted: Tensor, weight: Tensor, least: int, greatest: int, form: Form, most: float
) -> tuple[Tensor, Tensor]:
    """The scale [blocks, rows] and integers [sub-blocks, rows] of least Σ weight · (scale · integer − wanted)²."""
    of_blocks = wanted.view(-1, form.weights // form.size, wanted.shape[1])
    low, high = of_blocks.amin(1), of_blocks.amax(1)
    extreme = torch.where(-low > high, low, high)
    # The extreme goes to the end of the integers that reaches further; both signs do where there are two.
    end = least if -least > greatest else greatest
    best, chosen, fewest = extreme, wanted, torch.tensor(torch.inf)
    for tried in range(_SCALES_TRIED):
        # Evenly over the integers that the extreme may become, from a bit beyond the end to two thirds of it.
        place = end * (1.05 - 0.4 * tried / (_SCALES_TRIED - 1))
        scale = as_half(extreme / place, most)
        integers = _integers(wanted, _of_sub_blocks(scale, form), least, greatest)
        error = _over_block(weight * (_of_sub_blocks(scale, form) * integers - wanted).square(), form)
        better = error < fewest
        best, fewest = torch.where(better, scale, best), torch.where(better, error, fewest)
        chosen = torch.where(_of_sub_blocks(better, form), integers, chosen)
    return best, chosen


def _scales_again(targets: Targets, moments: LevelMoments, form: Form, found: Nested, reach: float) -> Nested:
    """The scales of blocks of least error, integers and levels given; as they were where they have no say."""
    ss = _over_block(found.steps.square() * moments.squares, form)
    sx = _over_block(found.steps * moments.products, form)
    alone = torch.where(ss > 0, sx / torch.where(ss > 0, ss, 1.0), found.scale)
    if not form.minima:
        return Nested(as_half(alone, most_scale(form, reach)), found.minimum, found.steps, found.shifts)
    mm = _over_block(found.shifts.square() * targets.total, form)
    mx = -_over_block(found.shifts * targets.linear, form)
    sm = -_over_block(found.steps * found.shifts * moments.levels, form)
    determinant = ss * mm - sm.square()
    sure = determinant > 1e-6 * ss * mm
    under = torch.where(sure, determinant, 1.0)
    scale = torch.where(sure, (sx * mm - sm * mx) / under, found.scale)
    minimum = torch.where(sure, (ss * mx - sm * sx) / under, found.minimum)
    alone = torch.where(mm > 0, scale, alone)
    scale = torch.where(alone > 0, alone, found.scale)
    minimum = torch.where(minimum > 0, minimum, found.minimum)
    return Nested(
        as_half(scale, most_scale(form, reach)), as_half(minimum, reach / form.minima), found.steps, found.shifts
    )


def _best_shifts(targets: Targets, moments: LevelMoments, step: Tensor, minimum: Tensor, form: Form) -> Tensor:
    return _integers(_wanted_shift(targets, moments, step), minimum, 0, form.minima)


def _wanted_shift(targets: Targets, moments: LevelMoments, step: Tensor) -> Tensor:
    """The shift of least error under given levels and steps."""
    return (step * moments.levels - targets.linear) / targets.total.clamp(min=torch.finfo(torch.float32).tiny)


def _integers(wanted: Tensor, scale: Tensor, least: int, greatest: int) -> Tensor:
    # Adding zero turns a negative zero into a positive one.
    return (wanted / torch.where(scale == 0, torch.inf, scale)).round_().clamp_(least, greatest).add_(0.0)


def _of_sub_blocks(of_blocks: Tensor, form: Form) -> Tensor:
    """[sub-blocks, rows] from [blocks, rows]."""
    return of_blocks.repeat_interleave(form.weights // form.size, 0)


def _over_block(of_sub_blocks: Tensor, form: Form) -> Tensor:
    """Sums over the sub-blocks of each block, [blocks, rows]."""
    return halved_sums(of_sub_blocks.reshape(-1, form.weights // form.size, of_sub_blocks.shape[1]))
