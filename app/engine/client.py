"""The engine as the window sees it: ask, listen, control."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

import shiboken6
from PySide6.QtCore import QObject, Slot

from benchvise.app.engine.child import EngineProcess, InProcessEngine
from benchvise.app.engine.listeners import Asked, Heard, Kinds, Listeners
from benchvise.app.engine.thread import EngineThread
from benchvise.core.protocol.events import Control, Event, Failed, Finished, Partial, Stopped
from benchvise.core.protocol.requests import Request

Callback = Callable[[Any], None]


@dataclass(frozen=True)
class _Waiting:
    """A request that is not answered yet, and who wants its answer."""

    request: Request
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
    """Sends requests to the engine and hands events on, on the GUI thread: to who asked, then to who listens.

    Progress comes at most 30 times a second.
    """

    def __init__(
        self, *, in_process: bool = False, parent: QObject | None = None, transport: Transport | None = None
    ) -> None:
        """transport: carries requests and events; a thread with an engine of its own if there is none."""
        super().__init__(parent)
        self._numbers = itertools.count(1)
        self._waiting: dict[int, _Waiting] = {}
        self._listeners = Listeners()
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
        self._waiting[number] = _Waiting(request, done, partial, failed, stopped, owner)
        self._listeners.tell(Asked(number), request)
        self.start()
        self._transport.order((number, request))
        return number

    def listen(self, kinds: Kinds, heard: Heard, *, carrying: Kinds = object, answering: Kinds = object) -> None:
        """Call the method `heard(number, content, request)` for every such event, whoever asked: `Listeners.add`.

        kinds: of events (core.protocol.events), or `Asked`, which comes before the request is sent.
        """
        self._listeners.add(kinds, heard, carrying, answering)

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
            waiting = self._waiting.get(event.request)
            if isinstance(event, Finished | Failed | Stopped):
                self._waiting.pop(event.request, None)
            if waiting is not None and not waiting.dropped:
                _answer(waiting, event)
            self._listeners.tell(event, waiting.request if waiting is not None else None)


def _answer(waiting: _Waiting, event: Event) -> None:
    match event:
        case Finished() if waiting.done is not None:
            waiting.done(event.result)
        case Partial() if waiting.partial is not None:
            waiting.partial(event.record)
        case Failed() if waiting.failed is not None:
            waiting.failed(event)
        case Stopped() if waiting.stopped is not None:
            waiting.stopped()
