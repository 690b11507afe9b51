"""The engine's own process: requests and controls come in over a pipe, events go out.

Jobs queue one behind the other. Requests that read weights, pre-flight checks, requests that are answered at once, and
the warm-up are answered beside a running job and beside each other: each lane has a queue and a thread of its own.
"""

from __future__ import annotations

import gc
import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field, replace
from enum import Enum
from multiprocessing.connection import Connection

import psutil

from benchvise.core.engine import answer
from benchvise.core.errors import Cancelled, UserError
from benchvise.core.memory import FREE_MEMORY, OUT_OF_MEMORY, ran_out_of_memory
from benchvise.core.protocol.events import (
    Advanced,
    Control,
    Event,
    Failed,
    Finished,
    Note,
    Partial,
    Queued,
    Started,
    Stopped,
)
from benchvise.core.protocol.requests import JOBS, READS_WEIGHTS, CheckRecipe, Compress, Request, WarmUp

ADVANCES_PER_SECOND = 10
THREADS_VARIABLE = "BENCHVISE_THREADS"
"""How many threads jobs of the window use."""


class Lane(Enum):
    """Requests of one lane are answered one after the other, those of different lanes side by side."""

    JOBS = "jobs"
    READS_WEIGHTS = "reads weights"
    CHECKS = "checks"
    QUICK = "quick"
    WARMING = "warming"


def lane_of(request: Request) -> Lane:
    """Where a request queues."""
    if isinstance(request, JOBS):
        return Lane.JOBS
    if isinstance(request, READS_WEIGHTS):
        return Lane.READS_WEIGHTS
    return _LANES.get(type(request), Lane.QUICK)


_LANES: dict[type, Lane] = {CheckRecipe: Lane.CHECKS, WarmUp: Lane.WARMING}


@dataclass
class QueuedRequest:
    """A request on its way, and what the person said about it since. taken: a thread has begun to answer it."""

    number: int
    request: Request
    cancelled: threading.Event = field(default_factory=threading.Event)
    running: threading.Event = field(default_factory=threading.Event)
    taken: bool = False

    def __post_init__(self) -> None:
        self.running.set()

    @property
    def lane(self) -> Lane:
        return lane_of(self.request)


class EngineServer:
    """Answers requests from `connection` until it closes, with one thread for each lane.

    own_process: nothing else lives in this process, and it ends without the interpreter being taken apart.
    """

    def __init__(self, connection: Connection, *, own_process: bool = False) -> None:
        self._connection = connection
        self._own_process = own_process
        self._sending = threading.Lock()
        self._tasks: dict[int, QueuedRequest] = {}
        self._changing = threading.Lock()
        self._waiting: dict[Lane, queue.Queue[QueuedRequest]] = {lane: queue.Queue() for lane in Lane}

    def serve(self) -> None:
        """Read the pipe until the other side closes it. Running work ends with the process."""
        for lane, waiting in self._waiting.items():
            threading.Thread(target=self._work, args=(waiting,), name=lane.value, daemon=True).start()
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(message, Control):
                self._control(message)
            else:
                self._accept(QueuedRequest(*message))

    def _accept(self, task: QueuedRequest) -> None:
        with self._changing:
            ahead = sum(other.lane is Lane.JOBS for other in self._tasks.values())
            self._tasks[task.number] = task
        if task.lane is Lane.JOBS:
            self.send(Queued(task.number, ahead))
        self._waiting[task.lane].put(task)

    def _control(self, control: Control) -> None:
        with self._changing:
            task = self._tasks.get(control.request)
            if task is None:
                return
            if control.action == "pause":
                task.running.clear()
                return
            if control.action == "cancel":
                task.cancelled.set()
            task.running.set()
            if not task.cancelled.is_set() or task.taken:
                return
            del self._tasks[task.number]
        self.send(Stopped(task.number))

    def _work(self, waiting: queue.Queue[QueuedRequest]) -> None:
        while True:
            task = waiting.get()
            if self._take(task):
                self._answer(task)
                with self._changing:
                    del self._tasks[task.number]
                if task.lane is Lane.WARMING and self._own_process:
                    gc.freeze()  # a collection over all that is imported by now stops every thread for 0.2 s

    def _take(self, task: QueuedRequest) -> bool:
        """Begin with the task, unless it was cancelled before its turn came."""
        with self._changing:
            task.taken = task.number in self._tasks
            return task.taken

    def _answer(self, task: QueuedRequest) -> None:
        self.send(Started(task.number))
        progress = PipeProgress(task, self)
        outcome = _outcome(task, progress)
        progress.tell_the_rest()
        try:
            self.send(outcome)
        except Exception as error:  # noqa: BLE001 - a result that no pipe can carry is a fault of ours
            self.send(_failed(task, error))

    def send(self, event: Event) -> None:
        """Hand an event to the other side; once that is gone, this process ends too."""
        try:
            with self._sending:
                self._connection.send(event)
        except OSError:
            os._exit(0)


def _outcome(task: QueuedRequest, progress: PipeProgress) -> Event:
    try:
        return Finished(task.number, answer(task.request, progress))
    except Cancelled:
        return Stopped(task.number)
    except UserError as error:
        return Failed(task.number, error.what, error.where, error.remedy)
    except Exception as error:  # noqa: BLE001 - a fault of ours is reported whole, and the engine goes on
        return _failed(task, error)


def _failed(task: QueuedRequest, error: Exception) -> Failed:
    """What an error that nobody expected is to the person: too little memory, or a fault of ours with its traceback."""
    if ran_out_of_memory(error):
        return Failed(task.number, OUT_OF_MEMORY, "", FREE_MEMORY, resumable=isinstance(task.request, Compress))
    what = f"Benchvise made a mistake: {type(error).__name__}: {error}"
    details = "".join(traceback.format_exception(error))
    return Failed(task.number, what, type(task.request).__name__, "Please report it with the details.", details)


class PipeProgress:
    """Progress that becomes events, at most ten a second but for pauses."""

    def __init__(self, task: QueuedRequest, engine: EngineServer) -> None:
        self._task = task
        self._engine = engine
        self._process = psutil.Process()
        self._state = Advanced(task.number, 0, 0, "", 0.0, None, 0)
        self._untold = False
        self._began = time.monotonic()
        self._told = 0.0

    def start(self, total: int, unit: str) -> None:
        self._state = replace(self._state, done=0, total=total, unit=unit)
        self._began = time.monotonic()
        self._untold = True
        self._tell_when_due()

    def advance(self, units: int) -> None:
        self._state = replace(self._state, done=self._state.done + units)
        self._untold = True
        self.check_cancelled()

    def check_cancelled(self) -> None:
        self._tell_when_due()
        if not self._task.running.is_set():
            self._pause()
        if self._task.cancelled.is_set():
            raise Cancelled

    def note(self, message: str) -> None:
        self._engine.send(Note(self._task.number, message))

    def result(self, record: object) -> None:
        self._engine.send(Partial(self._task.number, record))  # type: ignore[arg-type]

    def tell_the_rest(self) -> None:
        """Tell how far it came at last."""
        if self._untold:
            self._tell()

    def _pause(self) -> None:
        since = time.monotonic()
        self._tell(paused=True)
        self._task.running.wait()
        self._began += time.monotonic() - since
        self._tell()

    def _tell_when_due(self) -> None:
        if self._untold and time.monotonic() - self._told >= 1 / ADVANCES_PER_SECOND:
            self._tell()

    def _tell(self, *, paused: bool = False) -> None:
        self._told = time.monotonic()
        self._untold = False
        state, elapsed = self._state, self._told - self._began
        rate = state.done / elapsed if elapsed > 0 else 0.0
        left = max(0, state.total - state.done) / rate if rate > 0 else None
        rss = self._process.memory_info().rss
        self._engine.send(replace(state, rate=rate, eta_seconds=left, rss_bytes=rss, paused=paused))


def main(connection: Connection, threads: int = 0) -> None:
    """Entry of the child process.

    threads: for torch; 0 for what the variable says, else all cores but one, so that the window stays quick.
    """
    threads = threads or int(os.environ.get(THREADS_VARIABLE) or 0)
    os.environ.setdefault("OMP_NUM_THREADS", str(threads or max(1, (os.cpu_count() or 2) - 1)))
    if hasattr(os, "nice"):
        os.nice(5)
    if sys.platform != "win32":
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)
    EngineServer(connection, own_process=True).serve()
    # Not by returning: the interpreter would take itself apart under threads that still compute.
    os._exit(0)
