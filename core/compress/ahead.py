"""Work one step ahead on a thread of its own, so that reading, solving and measuring overlap."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class _End:
    """No further item; `error` is what ended them, None at the regular end."""

    error: BaseException | None = None


def ahead(items: Iterator[T], depth: int = 1) -> Iterator[T]:
    """The same items in the same order, while up to `depth` further ones are made on a thread.

    What `items` raises is raised here, after the items before it. A consumer that stops early stops the thread.
    """
    maker = _Maker(items, depth)
    maker.thread.start()
    try:
        while True:
            item = maker.made.get()
            if not isinstance(item, _End):
                yield item
            elif item.error is not None:
                raise item.error
            else:
                return
    finally:
        maker.wanted = False
        maker.thread.join()


class _Maker(Generic[T]):
    """Uses up `items` on a thread, never more than `depth` beyond what was taken."""

    def __init__(self, items: Iterator[T], depth: int) -> None:
        self.made: queue.Queue[T | _End] = queue.Queue(depth)
        self.wanted = True
        self.thread = threading.Thread(target=self._make, name="ahead", daemon=True)
        self._items = items

    def _make(self) -> None:
        end = _End()
        try:
            for item in self._items:
                if not self._put(item):
                    return
        except BaseException as error:  # noqa: BLE001 - it is raised in the consumer's thread
            end = _End(error)
        self._put(end)

    def _put(self, item: T | _End) -> bool:
        """Wait for room; False once nobody wants the item any more."""
        while self.wanted:
            try:
                self.made.put(item, timeout=0.1)
            except queue.Full:
                continue
            return True
        return False
