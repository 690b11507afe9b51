"""The engine's own process: requests and controls come in over a pipe, events go out.

Jobs queue one behind the other; queries are answered beside a running job, on a thread of their own.
"""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
import traceback
from dataclasses import dataclass, field
from multiprocessing.connection import Connection

import psutil

from core.engine import answer
from core.errors import Cancelled, UserError
from core.protocol.events import Advanced, Control, Event, Failed, Finished, Note, Partial, Queued, Started, Stopped
from core.protocol.requests import JOBS, Request

ADVANCES_PER_SECOND = 10


@dataclass
class Task:
    """A request on its way, and what the person said about it since."""

    number: int
    request: Request
    cancelled: threading.Event = field(default_factory=threading.Event)
    running: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.running.set()


class Engine:
    """Answers requests from `connection` until it closes. Two threads: one for jobs, one for queries."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._sending = threading.Lock()
        self._tasks: dict[int, Task] = {}
        self._jobs: queue.Queue[Task] = queue.Queue()
        self._queries: queue.Queue[Task] = queue.Queue()

    def serve(self) -> None:
        """Read the pipe until the other side closes it. Running work ends with the process."""
        for waiting in (self._jobs, self._queries):
            threading.Thread(target=self._work, args=(waiting,), daemon=True).start()
        while True:
            try:
                message = self._connection.recv()
            except (EOFError, OSError):
                return
            if isinstance(message, Control):
                self._control(message)
            else:
                self._accept(Task(*message))

    def _accept(self, task: Task) -> None:
        self._tasks[task.number] = task
        if isinstance(task.request, JOBS):
            self.send(Queued(task.number, self._jobs.qsize()))
            self._jobs.put(task)
        else:
            self._queries.put(task)

    def _control(self, control: Control) -> None:
        task = self._tasks.get(control.request)
        if task is None:
            return
        if control.action == "cancel":
            task.cancelled.set()
            task.running.set()
        elif control.action == "pause":
            task.running.clear()
        else:
            task.running.set()

    def _work(self, waiting: queue.Queue[Task]) -> None:
        while True:
            task = waiting.get()
            self.send(_outcome(task, self))
            self._tasks.pop(task.number, None)

    def send(self, event: Event) -> None:
        """Hand an event to the other side; quietly nothing once it is gone, for then this process ends too."""
        try:
            with self._sending:
                self._connection.send(event)
        except (BrokenPipeError, OSError):
            os._exit(0)


def _outcome(task: Task, engine: Engine) -> Event:
    if task.cancelled.is_set():
        return Stopped(task.number)
    engine.send(Started(task.number))
    try:
        return Finished(task.number, answer(task.request, PipeProgress(task, engine)))
    except Cancelled:
        return Stopped(task.number)
    except UserError as error:
        return Failed(task.number, error.what, error.where, error.remedy)
    except MemoryError:
        return Failed(task.number, "The memory ran out", "", "Close other programs, or choose smaller settings.")
    except Exception as error:  # noqa: BLE001 - a fault of ours is reported whole, and the engine goes on
        what = f"Benchvise made a mistake: {type(error).__name__}: {error}"
        return Failed(
            task.number, what, type(task.request).__name__, "Please report it with the details.", traceback.format_exc()
        )


class PipeProgress:
    """Progress that becomes events, at most ten a second."""

    def __init__(self, task: Task, engine: Engine) -> None:
        self._task = task
        self._engine = engine
        self._process = psutil.Process()
        self._done = 0
        self._total = 0
        self._unit = ""
        self._began = time.monotonic()
        self._told = 0.0

    def start(self, total: int, unit: str) -> None:
        self._done, self._total, self._unit = 0, total, unit
        self._began = time.monotonic()
        self._tell()

    def advance(self, units: int) -> None:
        self._done += units
        if time.monotonic() - self._told >= 1 / ADVANCES_PER_SECOND or self._done >= self._total:
            self._tell()
        self.check_cancelled()

    def check_cancelled(self) -> None:
        if not self._task.running.is_set():
            self._tell(paused=True)
            waited = time.monotonic()
            self._task.running.wait()
            self._began += time.monotonic() - waited
        if self._task.cancelled.is_set():
            raise Cancelled

    def note(self, message: str) -> None:
        self._engine.send(Note(self._task.number, message))

    def result(self, record: object) -> None:
        self._engine.send(Partial(self._task.number, record))  # type: ignore[arg-type]

    def _tell(self, *, paused: bool = False) -> None:
        self._told = time.monotonic()
        elapsed = self._told - self._began
        rate = self._done / elapsed if elapsed > 0 else 0.0
        left = (self._total - self._done) / rate if rate > 0 else None
        rss = self._process.memory_info().rss
        self._engine.send(Advanced(self._task.number, self._done, self._total, self._unit, rate, left, rss, paused))


def main(connection: Connection, threads: int = 0) -> None:
    """Entry of the child process. threads: for torch, 0 for all cores but one, so that the window stays quick."""
    os.environ.setdefault("OMP_NUM_THREADS", str(threads or max(1, (os.cpu_count() or 2) - 1)))
    if hasattr(os, "nice"):
        os.nice(5)
    if sys.platform != "win32":
        import signal

        signal.signal(signal.SIGINT, signal.SIG_IGN)
    Engine(connection).serve()
