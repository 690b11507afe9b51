"""Small pieces of a large file, read at a position: what describes tensors is read, their values are passed over."""

from __future__ import annotations

from typing import IO

WINDOW_BYTES = 1 << 16


class FileWindow:
    """The bytes of a file by their position, a window of 64 kB at a time.

    size: of the file in bytes. left: how many more items may be looked at, so that no file keeps the reader for long.
    Raises EOFError for what lies behind the end, before any memory is set aside, and ValueError for too many items.
    """

    def __init__(self, file: IO[bytes], items: int) -> None:
        self._file = file
        self.size = file.seek(0, 2)
        self.left = items
        self._start, self._held = 0, b""

    def count(self) -> None:
        """One more item is looked at. Raises ValueError when there were too many."""
        self.left -= 1
        if self.left < 0:
            raise ValueError("it consists of more pieces than any model")

    def require(self, position: int, count: int, end: int | None = None) -> int:
        """Where `count` bytes at `position` end. Raises EOFError when that is behind `end`, or the end of the file."""
        limit = self.size if end is None else end
        if count < 0 or position + count > limit:
            raise EOFError(f"it says that {count:,} bytes follow, but {max(0, limit - position):,} are left")
        return position + count

    def read(self, position: int, count: int) -> bytes:
        """`count` bytes at `position`."""
        self.require(position, count)
        begin = position - self._start
        if begin < 0 or begin + count > len(self._held):
            self._file.seek(position)
            self._start, self._held, begin = position, self._file.read(max(WINDOW_BYTES, count)), 0
        return self._held[begin : begin + count]

    def peek(self, position: int, count: int) -> bytes:
        """Up to `count` bytes at `position`; fewer at the end of the file."""
        return self.read(position, max(0, min(count, self.size - position)))
