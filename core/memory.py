"""How much memory this process has resident, now and at its highest, and how to tell that it ran out."""

from __future__ import annotations

import ctypes
import errno
import gc
import os
import sys
import threading
from types import TracebackType
from typing import Self

import psutil

SAMPLE_SECONDS = 0.02
LIMIT_VARIABLE = "BENCHVISE_MEMORY_GB"

OUT_OF_MEMORY = "The memory ran out"
FREE_MEMORY = "Close other programs, or choose smaller settings."

_SIGNS = (
    "can't allocate memory",
    "cannot allocate memory",
    "not enough memory",
    "out of memory",
    "alloc_failed",
    "bad_alloc",
)
"""In the messages of RuntimeErrors: torch has a class of its own for GPUs, and for the CPU only sentences."""


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def machine_memory() -> tuple[int, int]:
    """(free, total) bytes that jobs may use: what the machine has, and no more than $BENCHVISE_MEMORY_GB."""
    memory = psutil.virtual_memory()
    limit = float(os.environ.get(LIMIT_VARIABLE) or 0) * 1e9 or memory.total
    return int(min(memory.available, limit)), int(min(memory.total, limit))


def ran_out_of_memory(error: BaseException | None) -> bool:
    """Whether the error, or the one it was raised from, says so in any of the forms of Python, the system and torch."""
    while error is not None:
        if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":
            return True
        if isinstance(error, OSError) and error.errno == errno.ENOMEM:
            return True
        if isinstance(error, RuntimeError) and any(sign in str(error).lower() for sign in _SIGNS):
            return True
        error = error.__cause__
    return False


def release_freed() -> None:
    """Return freed memory to the system, so that it does not distort later measurements of resident memory."""
    gc.collect()
    if sys.platform == "linux":
        # Not every C library for Linux has it: the allocator of musl keeps nothing back.
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


class PeakMemory:
    """A section whose highest resident memory is sampled by a thread: `with PeakMemory() as peak: …; peak.bytes`.

    The process's own high-water mark does not serve: it would count whatever ran before the section.
    """

    def __init__(self) -> None:
        self.bytes = 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_done, name="peak-memory", daemon=True)

    def __enter__(self) -> Self:
        self.sample()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._done.set()
        self._thread.join()
        self.sample()

    def sample(self) -> int:
        """Measure now; returns the highest so far."""
        self.bytes = max(self.bytes, rss_bytes())
        return self.bytes

    def _sample_until_done(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.sample()
