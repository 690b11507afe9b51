"""An array that is compressed as a member of a zip archive, as `numpy.savez_compressed` writes it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.read import raw_dtype
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.checkpoint.zip_directory import Member, read_member
from benchvise.core.errors import CheckpointError

MAX_GROWTH = 1032
"""Bytes that one byte can be unpacked to, by the definition of deflate."""


@dataclass(frozen=True, slots=True)
class DeflatedArray:
    """The whole array is one line, because its bytes can only be unpacked from the first on.

    skipped: bytes before the values. by_column: the first index runs fastest.
    """

    member: Member
    skipped: int
    width: int
    by_column: bool
    scheme: str = ""

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return ()

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """The values [1, width]. Raises CheckpointError when they cannot be unpacked, or are too few."""
        dtype = raw_dtype(entry.dtype)
        wanted = self.width * dtype.itemsize
        try:
            with open(entry.file, "rb") as file:  # noqa: PTH123 - a path as text
                content = read_member(file, self.member, self.skipped + wanted, entry.file)
        except OSError as error:
            raise CheckpointError(f"The file cannot be read: {error.strerror}", where=entry.file) from error
        if len(content) < self.skipped + wanted:
            raise CheckpointError(f"The values of '{entry.name}' are cut off", where=entry.file)
        values = np.frombuffer(content, dtype, self.width, self.skipped)
        values = values.reshape(entry.shape, order="F" if self.by_column else "C").reshape(1, -1)
        return values[first:last]
