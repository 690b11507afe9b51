"""The engine behind a pipe: a child process that can die without the window, or a thread of this process."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import threading
from multiprocessing.connection import Connection
from typing import Protocol

from benchvise.core.language import message


class EngineHandle(Protocol):
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
    """The engine in a spawned child, so that a fault or an out-of-memory kill ends it alone.

    Raises OSError when the system gives no pipe, process or memory for it.
    """

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self._process = context.Process(target=run_engine, args=(theirs,), name="benchvise-engine", daemon=True)
        try:
            self._process.start()
        except BaseException:
            self.connection.close()
            raise
        finally:
            theirs.close()

    def waitables(self) -> list[object]:
        return [self._process.sentinel]

    def alive(self) -> bool:
        return self._process.is_alive()

    def cause_of_end(self) -> str:
        self._process.join(1.0)
        code = self._process.exitcode
        return f"signal {-code}" if code is not None and code < 0 else message("exit code {code}", code=code)

    def end(self, grace_seconds: float) -> None:
        self.connection.close()
        self._process.join(grace_seconds)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(1.0)


class InProcessEngine:
    """The same engine loop on a thread of this process, for debugging and for machines that forbid child processes."""

    def __init__(self) -> None:
        self.connection, theirs = multiprocessing.Pipe()
        self._thread = threading.Thread(target=_serve_here, args=(theirs,), name="benchvise-engine", daemon=True)
        self._thread.start()

    def waitables(self) -> list[object]:
        return []

    def alive(self) -> bool:
        return self._thread.is_alive()

    def cause_of_end(self) -> str:
        return message("its thread ended")

    def end(self, grace_seconds: float) -> None:
        self.connection.close()
        self._thread.join(grace_seconds)


def run_engine(connection: Connection) -> None:
    """What the child does: import the engine and serve until the pipe closes."""
    from benchvise.core.engine_process import main

    main(connection)


def _serve_here(connection: Connection) -> None:
    from benchvise.core.engine_process import EngineServer

    with contextlib.suppress(EOFError):
        EngineServer(_LastingConnection(connection)).serve()


class _LastingConnection(Connection):
    """An end whose messages are dropped once the window is closing: the process must not end under it."""

    def __init__(self, connection: Connection) -> None:
        super().__init__(os.dup(connection.fileno()))
        connection.close()

    def send(self, obj: object) -> None:
        with contextlib.suppress(OSError):
            super().send(obj)
