"""A part of a file that looks like a file of its own, such as a member of an archive that is not compressed."""

from __future__ import annotations

import io
from typing import Any


class FilePart(io.RawIOBase):
    """The `size` bytes at `start` of the file at `path`, to be read. Raises OSError as opening a file does."""

    def __init__(self, path: str, start: int, size: int) -> None:
        super().__init__()
        self._file = open(path, "rb")  # noqa: SIM115, PTH123 - closed by `close`; a path as text
        self._start, self._size, self._at = start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        """The position within the part."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position within the part, counted as files count it; the new one."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Any) -> int:
        """Fill the buffer as far as the part goes; how many bytes that was."""
        view = memoryview(buffer).cast("B")
        count = max(0, min(len(view), self._size - self._at))
        self._file.seek(self._start + self._at)
        done = self._file.readinto(view[:count]) if count else 0
        self._at += done
        return done

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()
