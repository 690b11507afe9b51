"""Requests to the engine of which only the newest counts."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from PySide6.QtCore import QObject

from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Request

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient

Mode = Literal["replace", "queue_last"]


@dataclass(frozen=True)
class _Ask:
    """What is asked, and who gets the answers."""

    make: Callable[[], Sequence[Request]]
    answered: Callable[[int, Any], None]
    failed: Callable[[int, Failed], None]
    stopped: Callable[[], None] | None


class LatestRequest(QObject):
    """Asks the engine; several requests may be asked at once, and callbacks get the place of the request among them.

    mode: "replace" cancels what is under way when something newer is asked; its answers are not delivered.
          "queue_last" lets it finish, and asks the newest of those that wait then.
    """

    def __init__(self, client: EngineClient, owner: QObject, mode: Mode = "replace") -> None:
        super().__init__(owner)
        self._client = client
        self._mode = mode
        self._serial = 0
        self._open: dict[int, int] = {}
        self._next: _Ask | None = None

    @property
    def pending(self) -> bool:
        """Whether an answer is awaited."""
        return bool(self._open)

    @property
    def waiting(self) -> bool:
        """Whether something waits until the answer under way has come."""
        return self._next is not None

    def ask(
        self,
        requests: Sequence[Request] | Callable[[], Sequence[Request]],
        answered: Callable[[int, Any], None],
        failed: Callable[[int, Failed], None],
        stopped: Callable[[], None] | None = None,
    ) -> None:
        """Ask; a function makes the requests when they are sent.

        stopped: called when somebody cancels one of the requests by its number.
        """
        asked = _Ask(requests if callable(requests) else lambda: requests, answered, failed, stopped)
        if self._mode == "queue_last" and self._open:
            self._next = asked
            return
        self.drop()
        self._send(asked)

    def drop(self) -> None:
        """Cancel what was asked, and deliver nothing of it."""
        self._serial += 1
        self._next = None
        stale, self._open = tuple(self._open), {}
        for number in stale:
            self._client.control(number, "cancel")

    def cancel(self) -> None:
        """Cancel what is under way; `stopped` is called when it has stopped."""
        for number in tuple(self._open):
            self._client.control(number, "cancel")

    def _send(self, asked: _Ask) -> None:
        serial = self._serial

        def ended(place: int, tell: Callable[[], None]) -> None:
            if serial == self._serial:
                self._open = {number: at for number, at in self._open.items() if at != place}
                tell()
                self._go_on(serial)

        for place, request in enumerate(asked.make()):
            number = self._client.ask(
                request,
                done=partial(_tell, ended, place, asked.answered),
                failed=partial(_tell, ended, place, asked.failed),
                stopped=partial(ended, place, asked.stopped or _nothing),
                owner=self,
            )
            self._open[number] = place

    def _go_on(self, serial: int) -> None:
        waiting = self._next
        if serial == self._serial and waiting is not None and not self._open:
            self._next = None
            self._send(waiting)


def _tell(
    ended: Callable[[int, Callable[[], None]], None], place: int, tell: Callable[[int, Any], None], answer: Any
) -> None:
    ended(place, partial(tell, place, answer))


def _nothing() -> None:
    pass
