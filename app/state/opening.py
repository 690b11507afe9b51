"""The checkpoint that is being opened: its layers come in parts, and only the newest opening counts."""

from __future__ import annotations

from dataclasses import replace

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.layer_arrival import Arrival
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Open
from benchvise.core.protocol.results import Opened


class CheckpointOpening(QObject):
    """path: what is being opened, "" for nothing.

    changed: an opening began or failed. opened: (checkpoint, totals) is there, with all its layers.
    """

    changed = Signal()
    opened = Signal(object, object)

    def __init__(self, client: EngineClient, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.path = ""
        self._client = client
        self._arrival = Arrival()

    def begin(self, path: str) -> int:
        """Ask the engine to open a checkpoint; the result is the number of the request."""
        self.path = path
        self._arrival.end()
        arrival = self._arrival = Arrival()

        def opened(answer: Opened) -> None:
            if arrival is self._arrival:
                self.path = ""
                self.opened.emit(replace(answer.checkpoint, layers=tuple(arrival.layers)), arrival.totals)
                arrival.end()

        def failed(_: Failed) -> None:
            if arrival is self._arrival:
                self.path = ""
                arrival.end()
                self.changed.emit()

        number = self._client.ask(Open(path), done=opened, partial=arrival.take, failed=failed, owner=self)
        self.changed.emit()
        return number
