"""Questions to the engine of which only the newest counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from PySide6.QtCore import QObject, Slot

from benchvise.core.protocol.events import Failed, Stopped
from benchvise.core.protocol.requests import Request

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient


class Question(QObject):
    """Asks; a newer question makes answers to older ones unheard and tells the engine to leave them.

    Several requests may belong to one question; callbacks get the place of the request among them.
    """

    def __init__(self, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self._client = client
        self._serial = 0
        self._open: dict[int, int] = {}
        self._stopped: Callable[[], None] | None = None
        client.event.connect(self._listen)

    @property
    def pending(self) -> bool:
        return bool(self._open)

    def ask(
        self,
        requests: Sequence[Request],
        answered: Callable[[int, Any], None],
        failed: Callable[[int, Failed], None],
        stopped: Callable[[], None] | None = None,
    ) -> None:
        """Ask; stopped is called when the engine was told elsewhere to cancel one of the requests."""
        self.drop()
        serial, self._stopped = self._serial, stopped

        def hear(place: int, tell: Callable[[int, Any], None]) -> Callable[[Any], None]:
            def heard(answer: Any) -> None:
                if serial == self._serial:
                    self._open = {number: at for number, at in self._open.items() if at != place}
                    tell(place, answer)

            return heard

        for place, request in enumerate(requests):
            number = self._client.ask(request, done=hear(place, answered), failed=hear(place, failed), owner=self)
            self._open[number] = place

    def drop(self) -> None:
        """Hear no more of what was asked."""
        self._serial += 1
        stale, self._open = tuple(self._open), {}
        for number in stale:
            self._client.control(number, "cancel")

    def cancel(self) -> None:
        """Tell the engine to stop what was asked; `stopped` is called when it has."""
        for number in tuple(self._open):
            self._client.control(number, "cancel")

    @Slot(object)
    def _listen(self, event: object) -> None:
        if isinstance(event, Stopped) and event.request in self._open:
            del self._open[event.request]
            if self._stopped is not None:
                self._stopped()
