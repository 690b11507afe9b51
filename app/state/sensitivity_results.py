"""Sensitivities that are known: cells as they come, and the newest finished measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity, SensitivityCell
from benchvise.core.recipe.recipe import Treatment

ESTIMATED = "fisher"
"""The method whose cells are forecasts; all others are measured."""


@dataclass(frozen=True)
class Measurement:
    """A finished measurement and the treatments that it is about."""

    sensitivity: Sensitivity
    treatments: tuple[Treatment, ...]


class Measured:
    """cells: by (layer, treatment's key), all found on the same text. last: what allocations can refer to."""

    def __init__(self) -> None:
        self.cells: dict[tuple[str, str], SensitivityCell] = {}
        self.last: Measurement | None = None
        self._asked: dict[int, MeasureSensitivity] = {}
        self._text: tuple[str, int, int] | None = None

    def forget(self) -> None:
        """Another checkpoint."""
        self.cells, self.last, self._text = {}, None, None
        self._asked.clear()

    def begin(self, number: int, request: MeasureSensitivity) -> None:
        """A measurement is asked for. What another text said is no longer comparable."""
        text = (request.text, request.windows, request.window_tokens)
        if self._text is not None and text != self._text:
            self.cells, self.last = {}, None
        self._text = text
        self._asked[number] = request

    def restore(self, sensitivity: Sensitivity) -> bool:
        """Take in what the workspace keeps. False when it keeps nothing, or a measurement was asked for since."""
        if not sensitivity.key or self._text is not None:
            return False
        self.cells = {(cell.layer, cell.key): cell for cell in sensitivity.cells}
        self.last, self._text = Measurement(sensitivity, sensitivity.treatments), sensitivity.asked
        return True

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the requests that measure now."""
        return tuple(self._asked)

    def end(self, number: int) -> bool:
        """A request has come to its end, whichever. False when it measures nothing of this checkpoint."""
        return self._asked.pop(number, None) is not None

    def add(self, number: int, cells: Sequence[SensitivityCell]) -> bool:
        """Take cells in; a forecast replaces nothing measured. False when they are not of this checkpoint."""
        if number not in self._asked:
            return False
        for cell in cells:
            known = self.cells.get((cell.layer, cell.key))
            if cell.method != ESTIMATED or known is None or known.method == ESTIMATED:
                self.cells[cell.layer, cell.key] = cell
        return True

    def finish(self, number: int, sensitivity: Sensitivity) -> bool:
        """A measurement is there. False when it is not of this checkpoint."""
        if not self.add(number, sensitivity.cells):
            return False
        request = self._asked[number]
        if sensitivity.key:
            self.last = Measurement(sensitivity, request.treatments)
        return True
