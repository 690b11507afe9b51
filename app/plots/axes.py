"""Axes whose ticks read well: counts with SI letters, powers of ten, names of things."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pyqtgraph as pg

from benchvise.core.text import number_text, si_text


class NumberAxis(pg.AxisItem):  # type: ignore[misc] # pyqtgraph is untyped
    """Plain values; with `logarithmic` the data are decimal logarithms and the ticks say the values."""

    def __init__(self, orientation: str, *, logarithmic: bool = False) -> None:
        super().__init__(orientation)
        self.enableAutoSIPrefix(False)
        self.setStyle(maxTickLevel=1, tickLength=-4)
        self.logarithmic = logarithmic

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        low, high = sorted((low, high))
        if not self.logarithmic:
            return list(super().tickValues(low, high, size))
        first, last = math.ceil(low), math.floor(high)
        decades = max(0, last - first) + 1
        if last < first or decades < 2:
            finer = [power + math.log10(digit) for power in range(math.floor(low), first + 1) for digit in (1, 2, 5)]
            inside = [value for value in finer if low <= value <= high]
            return [(1.0, inside)] if len(inside) > 1 else list(super().tickValues(low, high, size))
        step = max(1, -(-decades * 28 // max(1, round(size))))
        return [(float(step), [float(power) for power in range(first, last + 1, step)])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        if self.logarithmic:
            return [self.word(10.0**value) for value in values]
        texts: list[str] = super().tickStrings(values, scale, spacing)
        return [text.replace("-", "\u2212") for text in texts]

    def word(self, value: float) -> str:
        return number_text(value, 2)


class CountAxis(NumberAxis):
    """Counts: "200 k", "1.5 M"."""

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:
        if self.logarithmic:
            return super().tickStrings(values, scale, spacing)
        return [si_text(value * scale) for value in values]

    def word(self, value: float) -> str:
        return si_text(value) if value >= 1 else number_text(value, 2)


class NameAxis(pg.AxisItem):  # type: ignore[misc] # pyqtgraph is untyped
    """Positions 0, 1, 2 … that carry names; where they lie too close, only every so manieth is written."""

    def __init__(self, orientation: str) -> None:
        super().__init__(orientation)
        self.setStyle(tickLength=0)
        self._names: tuple[str, ...] = ()
        self._apart = 16

    def show_names(self, names: Sequence[str], *, apart: int = 16) -> None:
        """names[i] is written at position i + ½; neighbours are at least `apart` pixels from each other."""
        self._names, self._apart = tuple(names), apart
        self.picture = None
        self.update()

    def tickValues(self, low: float, high: float, size: float) -> list[tuple[float, list[float]]]:
        low, high = sorted((low, high))
        if not self._names or high == low:
            return []
        step = max(1, math.ceil(self._apart * (high - low) / max(1.0, size)))
        first = max(0, int(low))
        last = min(len(self._names), int(high) + 1)
        start = -(-first // step) * step
        return [(1.0, [place + 0.5 for place in range(start, last, step)])]

    def tickStrings(self, values: Sequence[float], scale: float, spacing: float) -> list[str]:  # noqa: ARG002
        return [self._names[int(value)] if 0 <= int(value) < len(self._names) else "" for value in values]
