"""Numbers of a Protocol Buffers message, each in as many bytes as it needs."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.read import raw_dtype, read_bytes
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError

_SEVEN_BITS = 7


@dataclass(frozen=True, slots=True)
class Varints:
    """The whole tensor is one line, because numbers take 1 to 10 bytes. Values of 16-bit floats are their bits.

    width: values of the tensor.
    """

    width: int
    scheme: str = ""

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return ()

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """The values [1, width]. Raises CheckpointError when there are not so many."""
        stored = read_bytes(entry, entry.offset, entry.nbytes)
        ends = np.flatnonzero(stored < 0x80)
        if len(ends) != self.width or ends[-1] != len(stored) - 1:
            raise CheckpointError(f"The values of '{entry.name}' are damaged", where=entry.file)
        starts = np.concatenate(([0], ends[:-1] + 1))
        places = np.arange(len(stored)) - np.repeat(starts, ends - starts + 1)
        digits = (stored & 0x7F).astype(np.uint64) << (_SEVEN_BITS * np.minimum(places, 9)).astype(np.uint64)
        dtype = raw_dtype(entry.dtype)
        bits = dtype if dtype.kind in "iu" else np.dtype(f"u{dtype.itemsize}")
        return np.add.reduceat(digits, starts).astype(bits).view(dtype).reshape(1, -1)[first:last]
