"""Sensitivities that are known: cells as they come, and the newest finished measurement."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.engine.listeners import Asked
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.protocol.events import Failed, Finished, Partial, Stopped
from benchvise.core.protocol.requests import KnownSensitivity, MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity, SensitivityCell
from benchvise.core.recipe.recipe import Treatment

ESTIMATED = "fisher"
"""The method whose cells are forecasts; all others are measured."""


@dataclass(frozen=True)
class Measurement:
    """A finished measurement and the treatments that it is about."""

    sensitivity: Sensitivity
    treatments: tuple[Treatment, ...]


class Sensitivities(QObject):
    """What is known of the open checkpoint's layers, whoever asked for it.

    cells: by (layer, treatment's key), all found on the same text. last: what allocations can refer to.
    changed: cells were added or forgotten. running_changed: a measurement was asked for, or ended.
    """

    changed = Signal()
    running_changed = Signal()

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.cells: dict[tuple[str, str], SensitivityCell] = {}
        self.last: Measurement | None = None
        self._client = client
        self._path = ""
        self._asked: dict[int, MeasureSensitivity] = {}
        self._text: tuple[str, int, int] | None = None
        self._restoring = LatestRequest(client, self)
        client.listen(Asked, self._on_asked, answering=MeasureSensitivity)
        client.listen(Partial, self._on_cell, carrying=SensitivityCell, answering=MeasureSensitivity)
        client.listen(Finished, self._on_finished, carrying=Sensitivity, answering=MeasureSensitivity)
        client.listen((Finished, Failed, Stopped), self._on_end, answering=MeasureSensitivity)

    def forget(self) -> None:
        """Another checkpoint is about to be shown; `follow` tells."""
        self.cells, self.last, self._text = {}, None, None
        self._asked.clear()
        self._restoring.drop()

    def follow(self, checkpoint: Checkpoint | None, workspace: str) -> None:
        """Another checkpoint is open, or another workspace is in use: show what that keeps of it."""
        self._path = checkpoint.path if checkpoint is not None else ""
        self.changed.emit()
        self.running_changed.emit()
        if checkpoint is not None:
            self._restoring.ask([KnownSensitivity(checkpoint.path, workspace)], self._restore, self._ignore)

    @property
    def running(self) -> tuple[int, ...]:
        """Numbers of the requests that measure now."""
        return tuple(self._asked)

    def stop(self) -> None:
        """Cancel what measures; what is known by then stays."""
        for number in self._asked:
            self._client.control(number, "cancel")

    def _restore(self, _: int, sensitivity: Sensitivity) -> None:
        """Take in what the workspace keeps, unless a measurement was asked for since."""
        if sensitivity.key and self._text is None:
            self.cells = {(cell.layer, cell.key): cell for cell in sensitivity.cells}
            self.last, self._text = Measurement(sensitivity, sensitivity.treatments), sensitivity.asked
            self.changed.emit()

    def _ignore(self, _: int, failure: Failed) -> None:
        """Nothing is shown; Problems tells what failed."""

    def _on_asked(self, number: int, _: Asked, request: MeasureSensitivity) -> None:
        """A measurement is asked for. What another text said is no longer comparable."""
        if request.path != self._path:
            return
        text = (request.text, request.windows, request.window_tokens)
        if self._text is not None and text != self._text:
            self.cells, self.last = {}, None
        self._text = text
        self._asked[number] = request
        self.running_changed.emit()

    def _on_cell(self, number: int, cell: SensitivityCell, _: MeasureSensitivity) -> None:
        if number in self._asked:
            self._add((cell,))

    def _on_finished(self, number: int, found: Sensitivity, request: MeasureSensitivity) -> None:
        if number not in self._asked:
            return
        if found.key:
            self.last = Measurement(found, request.treatments)
        self._add(found.cells)

    def _on_end(self, number: int, _: object, __: MeasureSensitivity) -> None:
        if self._asked.pop(number, None) is not None:
            self.running_changed.emit()

    def _add(self, cells: Sequence[SensitivityCell]) -> None:
        """A forecast replaces nothing measured."""
        for cell in cells:
            known = self.cells.get((cell.layer, cell.key))
            if cell.method != ESTIMATED or known is None or known.method == ESTIMATED:
                self.cells[cell.layer, cell.key] = cell
        self.changed.emit()
