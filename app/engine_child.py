"""The engine behind a pipe: a child process that can die without the window, or a thread of this process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
from multiprocessing.connection import Connection
from typing import Protocol


class Engine(Protocol):
    """One living engine: requests are written to `connection`, events are read from it."""

    connection: Connection

    def waitables(self) -> list[object]:
        """What `multiprocessing.connection.wait` may wait for to learn that the engine ended."""

    def alive(self) -> bool: ...

    def cause_of_end(self) -> str:
        """Why it ended, in a few words: "signal 9"."""

    def end(self, grace_seconds: float) -> None:
        """Close the pipe and wait; what is still there after the grace is killed."""


class EngineProcess:
    """The engine in a spawned child, so that a fault or an out-of-memory kill ends it alone."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=run_engine, args=(theirs,), name="benchvise-engine", daemon=True)
        self._process.start()
        theirs.close()

    @property
    def process_id(self) -> int:
        return self._process.pid or 0

    def waitables(self) -> list[object]:
        return [self._process.sentinel]

    def alive(self) -> bool:
        return self._process.is_alive()

    def cause_of_end(self) -> str:
        self._process.join(1.0)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else f"exit code {code}"

    def end(self, grace_seconds: float) -> None:
        self.connection.close()
        self._process.join(grace_seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(1.0)


class EngineHere:
    """The same engine loop on a thread of this process, for debugging and for machines that forbid child processes."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self._thread = threading.Thread(target=run_engine, args=(theirs,), name="benchvise-engine", daemon=True)
        self._thread.start()

    def waitables(self) -> list[object]:
        return []

    def alive(self) -> bool:
        return self._thread.is_alive()

    def cause_of_end(self) -> str:
        return "its thread ended"

    def end(self, grace_seconds: float) -> None:
        self.connection.close()
        self._thread.join(grace_seconds)


def run_engine(connection: Connection) -> None:
    """What the child does: import the engine (and with it torch) and serve until the pipe closes."""
    if multiprocessing.parent_process() is not None:
        _stand_back()
    from core.engine_process import main

    main(connection)


def _stand_back() -> None:
    """The window answers Ctrl+C and ends the child itself; the child's work yields the processor to the window."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with contextlib.suppress(OSError, AttributeError):
        os.nice(5)
