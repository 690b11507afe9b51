"""The engine as the window sees it: ask, listen, control."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import shiboken6
from PySide6.QtCore import QObject, Signal, Slot

from benchvise.app.engine.child import EngineProcess, InProcessEngine
from benchvise.app.engine.thread import EngineThread
from benchvise.core.protocol.events import Control, Event, Failed, Finished, Partial, Stopped
from benchvise.core.protocol.requests import Request

Callback = Callable[[Any], None]


@dataclass(frozen=True)
class _Asked:
    """Who wants to hear of a request."""

    done: Callback | None
    partial: Callback | None
    failed: Callback | None
    stopped: Callable[[], None] | None
    owner: QObject | None

    @property
    def dropped(self) -> bool:
        return self.owner is not None and not shiboken6.isValid(self.owner)


class Transport(Protocol):
    """Carries orders to an engine and its events back: `EngineThread`, or what a test plays."""

    delivered: Any
    """A signal that carries a list of events."""

    def start(self) -> None: ...

    def isRunning(self) -> bool: ...

    def order(self, order: tuple[int, Request] | Control) -> None:
        """Pass a request or a control on."""

    def close(self) -> None:
        """Cancel what runs and end the engine."""


class EngineClient(QObject):
    """Sends requests to the engine and hands events on, on the GUI thread.

    event: every event (core.protocol.events), progress at most 30 times a second.
    asked: (number, request) for every request, before it is sent.
    """

    event = Signal(object)  # type: ignore[assignment] # QObject.event is never called on it by name
    asked = Signal(int, object)

    def __init__(
        self, *, in_process: bool = False, parent: QObject | None = None, transport: Transport | None = None
    ) -> None:
        """transport: carries requests and events; a thread with an engine of its own if there is none."""
        super().__init__(parent)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Asked] = {}
        self._transport = transport or EngineThread(InProcessEngine if in_process else EngineProcess, self)
        self._transport.delivered.connect(self._dispatch)
        self._closed = False

    def start(self) -> None:
        """Start the engine if it does not run yet; `ask` does so by itself."""
        if not self._transport.isRunning() and not self._closed:
            self._transport.start()

    def ask(
        self,
        request: Request,
        *,
        done: Callback | None = None,
        partial: Callback | None = None,
        failed: Callback | None = None,
        stopped: Callable[[], None] | None = None,
        owner: QObject | None = None,
    ) -> int:
        """Send a request; the result is its number.

        done gets the result, partial each partial result, failed the `Failed` event; stopped is called when the request
        was cancelled. They run on the GUI thread, and not at all once `owner` is destroyed or the client is closed.
        """
        number = next(self._numbers)
        if self._closed:
            return number
        self._waiting[number] = _Asked(done, partial, failed, stopped, owner)
        self.asked.emit(number, request)
        self.start()
        self._transport.order((number, request))
        return number

    def control(self, number: int, action: str) -> None:
        """Send "pause", "resume" or "cancel" for a request that is queued or runs; others are ignored."""
        if number in self._waiting:
            self._transport.order(Control(number, action))

    def close(self) -> None:
        """Cancel what runs and end the engine; returns when it is gone, after three seconds at most."""
        if self._closed:
            return
        self._closed = True
        self._waiting.clear()
        self._transport.close()

    @Slot(object)
    def _dispatch(self, events: list[Event]) -> None:
        for event in events:
            if self._closed:
                return
            self._answer(event)
            self.event.emit(event)

    def _answer(self, event: Event) -> None:
        asked = self._waiting.get(event.request)
        if asked is None:
            return
        if isinstance(event, Finished | Failed | Stopped):
            del self._waiting[event.request]
        if asked.dropped:
            return
        if isinstance(event, Finished) and asked.done is not None:
            asked.done(event.result)
        elif isinstance(event, Partial) and asked.partial is not None:
            asked.partial(event.record)
        elif isinstance(event, Failed) and asked.failed is not None:
            asked.failed(event)
        elif isinstance(event, Stopped) and asked.stopped is not None:
            asked.stopped()
