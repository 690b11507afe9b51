"""The one background worker thread: owns the engine, passes requests on, and turns its events into Qt signals."""

from __future__ import annotations

import pickle
import time
import traceback
from collections import deque
from collections.abc import Callable
from multiprocessing import Pipe
from multiprocessing.connection import wait
from typing import Any

from PySide6.QtCore import QObject, QThread, Signal

from benchvise.app.engine.child import EngineHandle
from benchvise.core.language import message
from benchvise.core.protocol.events import Advanced, Control, Event, Failed, Finished, Stopped
from benchvise.core.protocol.requests import Compress, Evaluate, Export, MeasureLatency, MeasureSensitivity, Request

PROGRESS_INTERVAL = 1 / 30
"""Seconds between two deliveries of progress; results are not held back."""
CANCEL_GRACE = 1.5
END_GRACE = 1.0
_BATCH = 64
_MIN_LIFE = 3.0
_CLOSE_MS = int(1000 * (CANCEL_GRACE + END_GRACE + 2.0))
_MIN_RETRY, _MAX_RETRY = 0.25, 8.0
"""Seconds before an engine that could not be started is tried again; doubled with each failure."""

_DOING: dict[type, str] = {
    Compress: message("while compressing"),
    Evaluate: message("while evaluating"),
    Export: message("while exporting"),
    MeasureLatency: message("while measuring latency"),
    MeasureSensitivity: message("while measuring sensitivity"),
}


class EngineThread(QThread):
    """Pumps between the window and the engine; restarts the engine when it ended by itself.

    When the engine cannot be started, every request in flight fails; the next one tries again, after a pause that grows
    with each failure.

    delivered: a list of events in the order in which the engine sent them.
    """

    delivered = Signal(object)

    def __init__(self, start_engine: Callable[[], EngineHandle], parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.setObjectName("engine-thread")
        self._start_engine = start_engine
        self._engine: EngineHandle | None = None
        self._engine_since = 0.0
        self._retry_at = 0.0
        self._retry_pause = _MIN_RETRY
        self._closing = False
        self._orders: deque[tuple[int, Request] | Control] = deque()
        self._wake_read, self._wake_write = Pipe(duplex=False)
        self._in_flight: dict[int, Request] = {}
        self._progress: dict[int, Advanced] = {}
        self._next_progress = 0.0

    def order(self, order: tuple[int, Request] | Control) -> None:
        """Pass a request or a control on. Called on the GUI thread."""
        self._orders.append(order)
        self._wake_write.send_bytes(b"o")

    def close(self) -> None:
        """Cancel what runs, end the engine and wait for the thread, three seconds or so. Called on the GUI thread."""
        self._closing = True
        if self.isRunning():
            self._wake_write.send_bytes(b"c")
            if not self.wait(_CLOSE_MS):
                return
        self._wake_write.close()
        self._wake_read.close()

    def run(self) -> None:
        """The thread's life."""
        self._living_engine()
        while not self._closing:
            self._wait()
            self._pass_orders()
            self._collect()
            self._deliver_progress()
        self._end()

    def _wait(self) -> None:
        sources: list[Any] = [self._wake_read]
        if self._engine is not None:
            sources += [self._engine.connection, *self._engine.waitables()]
        due = [self._next_progress] if self._progress else []
        if self._orders:
            due.append(self._retry_at)
        timeout = max(0.0, min(due) - time.monotonic()) if due else None
        if self._wake_read in wait(sources, timeout):
            self._wake_read.recv_bytes()

    def _pass_orders(self) -> None:
        """Pass on what was ordered; while an engine that could not be started must rest, orders wait."""
        while self._orders and not self._closing:
            if self._engine is None and time.monotonic() < self._retry_at:
                return
            order = self._orders.popleft()
            if isinstance(order, tuple):
                self._in_flight[order[0]] = order[1]
            elif order.request not in self._in_flight:
                continue
            self._send(order)

    def _send(self, order: tuple[int, Request] | Control) -> None:
        engine = self._living_engine()
        if engine is None:
            return
        try:
            engine.connection.send(order)
        except OSError:
            self._engine_ended()
        except (pickle.PicklingError, AttributeError, TypeError, ValueError) as error:
            number, request = order if isinstance(order, tuple) else (order.request, self._in_flight[order.request])
            del self._in_flight[number]
            self._deliver([_unsendable(number, request, error)])

    def _living_engine(self) -> EngineHandle | None:
        """The engine, started if there is none; None when it cannot be started, and what was in flight has failed."""
        if self._engine is None:
            try:
                self._engine = self._start_engine()
            except (OSError, RuntimeError, MemoryError) as error:
                self._not_started(error)
            else:
                self._engine_since = time.monotonic()
                self._retry_pause = _MIN_RETRY
        return self._engine

    def _not_started(self, error: Exception) -> None:
        self._retry_at = time.monotonic() + self._retry_pause
        self._retry_pause = min(_MAX_RETRY, 2 * self._retry_pause)
        failures = [_start_failure(number, error) for number in self._in_flight]
        self._in_flight.clear()
        self._deliver(list(failures))

    def _collect(self) -> None:
        """Read what the engine has said; a long burst is delivered in parts."""
        engine = self._engine
        if engine is None:
            return
        events: list[Event] = []
        try:
            while len(events) < _BATCH and engine.connection.poll():
                self._take(engine.connection.recv(), events)
        except (EOFError, OSError):
            self._deliver(events)
            self._engine_ended()
            return
        self._deliver(events)
        if not engine.alive() and not engine.connection.poll():
            self._engine_ended()

    def _take(self, event: Event, events: list[Event]) -> None:
        if isinstance(event, Advanced):
            self._progress[event.request] = event
            return
        if isinstance(event, Finished | Stopped | Failed):
            self._in_flight.pop(event.request, None)
            last = self._progress.pop(event.request, None)
            if last is not None:
                events.append(last)
        events.append(event)

    def _deliver(self, events: list[Event]) -> None:
        if events:
            self.delivered.emit(events)

    def _deliver_progress(self) -> None:
        now = time.monotonic()
        if self._progress and now >= self._next_progress:
            self._deliver(list(self._progress.values()))
            self._progress.clear()
            self._next_progress = now + PROGRESS_INTERVAL

    def _engine_ended(self) -> None:
        """Tell every request in flight, and start anew unless the engine cannot even stay alive."""
        engine, self._engine = self._engine, None
        if engine is None:
            return
        cause = engine.cause_of_end()
        engine.end(0.0)
        self._progress.clear()
        failures = [_failure(number, request, cause) for number, request in self._in_flight.items()]
        self._in_flight.clear()
        self._deliver(list(failures))
        if time.monotonic() - self._engine_since > _MIN_LIFE:
            self._living_engine()

    def _end(self) -> None:
        """Cancel what runs, give it a moment to put its work down in order, then end the engine."""
        engine = self._engine
        if engine is None:
            return
        try:
            for number in self._in_flight:
                engine.connection.send(Control(number, "cancel"))
            deadline = time.monotonic() + CANCEL_GRACE
            while self._in_flight and (left := deadline - time.monotonic()) > 0:
                if engine.connection in wait([engine.connection], left):
                    self._take(engine.connection.recv(), [])
        except (EOFError, OSError):
            self._in_flight.clear()
        engine.end(END_GRACE)


def _start_failure(number: int, error: Exception) -> Failed:
    why = (error.strerror if isinstance(error, OSError) else str(error)) or type(error).__name__
    remedy = message("Close other programs: the machine may be short of memory or processes. Then try again.")
    return Failed(number, message("The engine cannot be started ({why})", why=why), "", remedy)


def _unsendable(number: int, request: Request, error: Exception) -> Failed:
    what = message("Benchvise made a mistake: the request cannot be sent to the engine ({error})", error=str(error))
    details = "".join(traceback.format_exception(error))
    return Failed(number, what, type(request).__name__, message("Please report it with the details."), details)


def _failure(number: int, request: Request, cause: str) -> Failed:
    doing = _DOING.get(type(request), message("while answering"))
    if isinstance(request, Compress):
        return Failed(
            number,
            message("The engine stopped ({cause}) {doing}; finished layers are kept", cause=cause, doing=doing),
            request.path,
            message("Press Run to resume."),
            resumable=True,
        )
    remedy = message("Try again. If it happens again, close other programs: the machine may have run out of memory.")
    return Failed(number, message("The engine stopped ({cause}) {doing}", cause=cause, doing=doing), "", remedy)
