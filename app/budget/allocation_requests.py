"""Asks for allocations while a slider is dragged: one at a time, and after it only the newest."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QObject, Signal

from benchvise.app.engine.client import EngineClient
from benchvise.core.protocol.events import Event, Failed, Stopped
from benchvise.core.protocol.requests import Allocate
from benchvise.core.protocol.results import Allocated
from benchvise.core.recipe.recipe import Recipe


@dataclass(frozen=True)
class Question:
    """apply: whether the answer is to be put in place, or only looked at. recipe: what it was asked of."""

    request: Allocate
    apply: bool

    @property
    def recipe(self) -> Recipe:
        return self.request.recipe


class Allocator(QObject):
    """answered: (question, Allocated); failed: (question, Failed). What was dropped is heard no more."""

    answered = Signal(object, object)
    failed = Signal(object, object)

    def __init__(self, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self._client = client
        self._number = 0
        self._serial = 0
        self._next: Callable[[], Question] | None = None
        client.event.connect(self._listen)

    @property
    def pending(self) -> bool:
        return bool(self._number)

    def ask(self, make: Callable[[], Question]) -> None:
        """Ask now, or as soon as the answer that is awaited has come; of several that wait the last counts.

        The question is made when it is sent, of the recipe as it is by then.
        """
        if self._number:
            self._next = make
        else:
            self._send(make())

    def drop(self) -> None:
        """Leave what was asked: it belongs to another checkpoint, measurement or set of candidates."""
        self._serial += 1
        self._next = None
        number, self._number = self._number, 0
        if number:
            self._client.control(number, "cancel")

    def _send(self, question: Question) -> None:
        serial = self._serial

        def done(allocated: Allocated) -> None:
            if serial == self._serial:
                self.answered.emit(question, allocated)
                self._go_on()

        def refused(failure: Failed) -> None:
            if serial == self._serial:
                self.failed.emit(question, failure)
                self._go_on()

        self._number = self._client.ask(question.request, done=done, failed=refused, owner=self)

    def _go_on(self) -> None:
        self._number = 0
        waiting, self._next = self._next, None
        if waiting is not None:
            self._send(waiting())

    def _listen(self, event: Event) -> None:
        if isinstance(event, Stopped) and event.request == self._number:
            self._go_on()
