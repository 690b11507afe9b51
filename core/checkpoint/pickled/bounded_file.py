"""A file that refuses to read more than it has, before any memory is set aside for it."""

from __future__ import annotations

import pickle
from typing import IO


class BoundedFile:
    """The part of a binary file between its position and `end`, read in order."""

    def __init__(self, file: IO[bytes], end: int) -> None:
        self._file = file
        self._end = end
        self._position = self._file_at = file.tell()

    def tell(self) -> int:
        """The position in the whole file."""
        return self._position

    def read(self, count: int) -> bytes:
        """Exactly `count` bytes. Raises EOFError when there are fewer, before reading any."""
        start = self._position
        end = start + count
        if end > self._end or count < 0:
            self.require(count)
        if self._file_at != start:
            self._file.seek(start)
        self._position = self._file_at = end
        return self._file.read(count)

    def skip(self, count: int) -> int:
        """Pass over `count` bytes without reading; the position they begin at. Raises EOFError when there are fewer."""
        self.require(count)
        self._position += count
        return self._position - count

    def require(self, count: int) -> None:
        """Raises EOFError when fewer than `count` bytes are left."""
        left = self._end - self._position
        if not 0 <= count <= left:
            raise EOFError(f"it says that {count:,} bytes follow, but {left:,} are left")

    def readinto(self, buffer: bytearray) -> int:
        """Fill `buffer`. Raises EOFError when the file has fewer bytes."""
        buffer[:] = self.read(len(buffer))
        return len(buffer)

    def readline(self) -> bytes:
        """Up to the next line feed. Raises UnpicklingError for a line that no pickle of tensors has."""
        self._file.seek(self._position)
        line = self._file.readline(min(_LONGEST_LINE, self._end - self._position))
        if len(line) == _LONGEST_LINE:
            raise pickle.UnpicklingError("a line of more than 64 kB")
        self._position += len(line)
        self._file_at = self._position
        return line


_LONGEST_LINE = 1 << 16
