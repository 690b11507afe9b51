"""Codes and scales of GGUF's block types as things that can be learned."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace

import torch
from torch import Tensor

from benchvise.core.methods.gguf import TYPES, GgufName
from benchvise.core.schemes.gguf.blocks import Contents, pack, unpack
from benchvise.core.schemes.gguf.forms import FORMS, Form, power_scale
from benchvise.core.schemes.gguf.vector_forms import DELTA, VECTOR_FORMS, VectorForm
from benchvise.core.schemes.learning import Learnable, as_stored, rounded

_INSIDE = 0.45
"""How near to the border of its code a weight may begin, in steps: at the border the least offset would flip it."""

_NEARER = (0.45, 0.2, 0.0)
"""The same of vectors: the first of these parts of the way at which the vector found is the one that was chosen."""


def learnable(name: GgufName, stored: Mapping[str, Tensor], target: Tensor) -> Learnable:
    """What can be learned of `stored`, whose codes come first; target: float32 [rows, columns]."""
    if not TYPES[name].scales:
        return _of_halves(stored, target)
    contents = unpack(name, stored["weight_packed"].reshape(-1, TYPES[name].code_bytes))
    scales = _Scales(name, stored, contents)
    first, moved = scales.steps(scales.zeros())
    if name in VECTOR_FORMS:
        values, chosen = _of_vectors(VECTOR_FORMS[name], contents, target, first)
    else:
        values, chosen = _of_weights(FORMS[name], contents, target, first, moved)

    def weight(offsets: Tensor, logarithms: Tensor) -> Tensor:
        step, shift = scales.steps(logarithms)
        found = step * values(offsets)
        return (found if shift is None else found - shift).view(target.shape)

    def result(offsets: Tensor, logarithms: Tensor) -> dict[str, Tensor]:
        integers = scales.integers(logarithms)
        packed = pack(name, replace(integers, codes=chosen(offsets).view(contents.codes.shape)))
        return {**stored, "weight_packed": packed.view(len(target), -1), **scales.numbers(logarithms)}

    return Learnable(torch.zeros(target.shape), scales.zeros(), weight, result)


class _Scales:
    """The 16-bit scales of blocks and the integers of sub-blocks, each times the exponential of what is learned of it.

    What is learned is [blocks, n], the scale first, then the minimum, the integers of steps and those of shifts, as far
    as the type has them. Nothing can be learned of powers of two.
    """

    def __init__(self, name: GgufName, stored: Mapping[str, Tensor], contents: Contents) -> None:
        self._form = VECTOR_FORMS.get(name) or FORMS[name]
        self._stored = {key: stored[key].reshape(-1, 1) for key, _ in TYPES[name].scales}
        self._fixed = name == "mxfp4"
        self._rows = len(stored["weight_packed"])
        self._contents = contents
        self._sub_blocks = self._form.weights // self._form.size
        # IQ1 stores whether a sub-block is moved where others have integers of shifts; that is not learned.
        self._shifted = isinstance(self._form, Form) and contents.minima is not None
        integers = (contents.scales is not None) + self._shifted
        self._width = 1 if self._fixed else len(self._stored) + self._sub_blocks * integers

    def zeros(self) -> Tensor:
        return torch.zeros(len(self._contents.codes), self._width)

    def steps(self, logarithms: Tensor) -> tuple[Tensor, Tensor | None]:
        """Steps and shifts [blocks, sub-blocks, 1]."""
        numbers = self._numbers(logarithms)
        scale, form = numbers["weight_scale"], self._form
        steps, shifts = self._integers(logarithms)
        if isinstance(form, VectorForm):
            step = scale * form.unit * (0.5 + _present(steps))
        else:
            step = (scale if steps is None else scale * steps).expand(-1, self._sub_blocks)
        if "weight_minimum" not in numbers:
            return step[..., None], None
        minimum = numbers["weight_minimum"]
        return step[..., None], (-minimum if shifts is None else minimum * shifts)[..., None]

    def integers(self, logarithms: Tensor) -> Contents:
        """The contents with the integers as they will be stored."""
        steps, shifts = self._integers(logarithms)
        found = self._contents
        if steps is not None:
            offset = self._form.offset if isinstance(self._form, Form) else 0
            found = replace(found, scales=(steps + offset).to(torch.uint8))
        return found if shifts is None else replace(found, minima=shifts.to(torch.uint8))

    def numbers(self, logarithms: Tensor) -> dict[str, Tensor]:
        """The stored scales of blocks, [rows, blocks]."""
        if self._fixed:
            return {}
        numbers = self._numbers(logarithms)
        return {name: number.to(torch.float16).view(self._rows, -1) for name, number in numbers.items()}

    def _numbers(self, logarithms: Tensor) -> dict[str, Tensor]:
        if self._fixed:
            power = power_scale(self._stored["weight_scale"].view(torch.uint8))
            return {"weight_scale": power + 0 * logarithms}
        return {
            name: as_stored(number.float() * logarithms[:, at : at + 1].exp(), torch.float16)
            for at, (name, number) in enumerate(self._stored.items())
        }

    def _integers(self, logarithms: Tensor) -> tuple[Tensor | None, Tensor | None]:
        scales, minima = self._contents.scales, self._contents.minima
        if scales is None:
            return None, None
        form, first = self._form, len(self._stored)
        offset, least = (form.offset, form.least) if isinstance(form, Form) else (0, 0)
        second = first + self._sub_blocks
        steps = _whole((scales.float() - offset) * logarithms[:, first:second].exp(), least, form.greatest)
        if not self._shifted or minima is None or not isinstance(form, Form):
            return steps, None
        return steps, _whole(minima.float() * logarithms[:, second:].exp(), 0, form.minima)


Codes = tuple[Callable[[Tensor], Tensor], Callable[[Tensor], Tensor]]
"""Of offsets [rows, columns]: values [blocks, sub-blocks, size] in steps, with gradients; and codes."""


def _of_weights(form: Form, contents: Contents, target: Tensor, step: Tensor, shift: Tensor | None) -> Codes:
    shape = (len(contents.codes), form.weights // form.size, form.size)
    levels = torch.tensor(form.levels, dtype=torch.float32)
    gaps = levels.diff()
    below, above = torch.cat([gaps[:1], gaps]), torch.cat([gaps, gaps[-1:]])
    codes = contents.codes.long().view(shape)
    wanted = target.float().reshape(shape) if shift is None else target.float().reshape(shape) + shift
    away = wanted / torch.where(step == 0, 1.0, step) - levels[codes]
    first = codes + (away / torch.where(away < 0, below[codes], above[codes])).clamp_(-_INSIDE, _INSIDE)
    greatest, slopes = len(form.levels) - 1, (below + above) / 2

    def values(offsets: Tensor) -> Tensor:
        moved = rounded(first + offsets.view(shape), greatest)
        at = moved.detach().long()
        return levels[at] + slopes[at] * (moved - moved.detach())

    def chosen(offsets: Tensor) -> Tensor:
        return (first + offsets.view(shape)).round_().clamp_(0, greatest).to(torch.uint8)

    return values, chosen


def _of_vectors(form: VectorForm, contents: Contents, target: Tensor, step: Tensor) -> Codes:
    shape = (len(contents.codes), form.weights // form.size, form.size)
    moved = 0.0 if contents.minima is None else DELTA * (1 - 2 * contents.minima.float())[..., None]
    codes = contents.codes
    now = form.decode(codes).view(shape)
    away = target.float().reshape(shape) / torch.where(step == 0, 1.0, step) - moved - now

    def encoded(positions: Tensor) -> Tensor:
        return form.encode(positions.reshape(len(codes), -1, form.step), None)

    first = now
    for part in reversed(_NEARER):
        kept = (encoded(now + part * away) == codes).repeat_interleave(form.step, 1).view(shape)
        first = torch.where(kept, now + part * away, first)
    unit = form.largest / max(1, len(set(form.table.flatten().tolist())) - 1)

    def values(offsets: Tensor) -> Tensor:
        positions = first + unit * offsets.view(shape)
        with torch.no_grad():
            found = form.decode(encoded(positions)).view(shape)
        result: Tensor = found + moved + (positions - positions.detach())
        return result

    return values, lambda offsets: encoded(first + unit * offsets.view(shape))


def _of_halves(stored: Mapping[str, Tensor], target: Tensor) -> Learnable:
    """F16 and BF16: offsets count in units of the last place, and a factor of each row is learned into the numbers."""
    dtype = stored["weight"].dtype
    first, unit = stored["weight"].float(), stored["weight"].float().abs() * torch.finfo(dtype).eps

    def weight(offsets: Tensor, scales: Tensor) -> Tensor:
        return as_stored((first + unit * offsets) * scales.exp(), dtype)

    return Learnable(
        torch.zeros(target.shape),
        torch.zeros(len(target), 1),
        weight,
        lambda offsets, scales: {"weight": weight(offsets, scales).to(dtype)},
    )


def _whole(values: Tensor, least: int, greatest: int) -> Tensor:
    """The nearest whole numbers; gradients go straight through."""
    return values + (values.round().clamp(least, greatest) - values).detach()


def _present(integers: Tensor | None) -> Tensor:
    if integers is None:
        raise ValueError("vectors have a scale for each sub-block")
    return integers
