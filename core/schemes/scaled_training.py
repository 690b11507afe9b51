"""Elements of floating formats and of tables of levels under training, with the scales that may move."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from benchvise.core.schemes.element import Element
from benchvise.core.schemes.learning import as_stored
from benchvise.core.schemes.training import Trainable, TrainedValues, straight


def nearest_element(element: Element, values: Tensor) -> Tensor:
    """The nearest elements to float32 `values` of any shape; gradients go straight through, but not beyond the ends."""
    inside = values.clamp(float(element.levels[0]), float(element.levels[-1]))
    return straight(inside, element.decode(element.encode(values.detach())))


def trainable(
    element: Element,
    stored: Mapping[str, Tensor],
    name: str,
    steps: Callable[[Mapping[str, Tensor]], Tensor],
    target: Tensor,
) -> Trainable:
    """The weight before rounding in units of its first scale, and the stored scale `name` ("" where none may move).

    steps: the step of every weight, float32 that broadcasts to [rows, columns], from the stored scales. It begins at
    `target`, float32 [rows, columns], where that has the codes of `stored`, and else at what those stand for.
    """
    columns = target.shape[1]
    now, fixed = element.decode(element.codes(stored, columns)), dict(stored)
    first = steps(fixed)
    safe = torch.where(first == 0, 1.0, first)
    wanted = target / safe
    begin = torch.where(element.decode(element.encode(wanted)) == now, wanted, now)
    begin = begin.clamp(float(element.levels[0]), float(element.levels[-1]))

    def scales(values: TrainedValues) -> dict[str, Tensor]:
        return fixed | ({name: as_stored(values[name], stored[name].dtype)} if name else {})

    def positions(values: TrainedValues, step: Tensor) -> Tensor:
        return values["weight"] * (safe / torch.where(step == 0, 1.0, step)) if name else values["weight"]

    def weight(values: TrainedValues) -> Tensor:
        step = steps(scales(values))
        return nearest_element(element, positions(values, step)) * step

    def found(values: TrainedValues) -> dict[str, Tensor]:
        kept = scales(values)
        codes = element.encode(positions(values, steps(kept)))
        return {**fixed, **element.stored(codes)} | ({name: kept[name].to(stored[name].dtype)} if name else {})

    values, units = {"weight": begin}, {"weight": _spacing(element, now)}
    if name:
        values, units = values | {name: stored[name].float()}, units | {name: stored[name].float().abs()}
    return Trainable(values, units, weight, found, fine=frozenset({name} if name else ()))


def _spacing(element: Element, values: Tensor) -> Tensor:
    """How far the neighbours of each of the elements `values` lie on average, of their shape."""
    levels = element.levels
    gaps = levels.diff()
    around = torch.cat([gaps[:1], (gaps[1:] + gaps[:-1]) / 2, gaps[-1:]])
    return around[torch.searchsorted(levels, values.contiguous()).clamp_(max=len(levels) - 1)]
