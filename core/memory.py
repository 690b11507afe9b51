"""How much memory this process has resident, now and at its highest."""

from __future__ import annotations

import ctypes
import gc
import sys
import threading
from types import TracebackType
from typing import Self

import psutil

SAMPLE_SECONDS = 0.02


def rss_bytes() -> int:
    """Resident memory of this process now."""
    return int(psutil.Process().memory_info().rss)


def release_freed() -> None:
    """Hand what was freed back to the system, so that it counts neither for this moment nor against a later section."""
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
        self._thread = threading.Thread(target=self._watch, name="peak-memory", daemon=True)

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
        """Look now; returns the highest so far."""
        self.bytes = max(self.bytes, rss_bytes())
        return self.bytes

    def _watch(self) -> None:
        while not self._done.wait(SAMPLE_SECONDS):
            self.sample()
