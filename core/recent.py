"""A bounded store of recent values that threads share."""

from __future__ import annotations

import threading
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


class Recent(Generic[K, V]):
    """Values by key, at most `limit` of them: the one put in first goes first. Any thread may use it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._values: dict[K, V] = {}
        self._lock = threading.Lock()

    def put(self, key: K, value: V) -> None:
        """Store the value as the newest one."""
        with self._lock:
            self._values.pop(key, None)
            while len(self._values) >= self._limit:
                del self._values[next(iter(self._values))]
            self._values[key] = value

    def take(self, key: K) -> V | None:
        """Remove and return the value; None when there is none."""
        with self._lock:
            return self._values.pop(key, None)
