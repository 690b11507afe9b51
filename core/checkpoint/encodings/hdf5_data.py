"""Arrays of an HDF5 file that lie in pieces or are compressed, read by the package that knows both."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.encodings.file_part import FilePart
from benchvise.core.checkpoint.read import raw_dtype
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Hdf5Data:
    """One line is a row of dimension 0; a scalar is one line.

    path: of the array within the HDF5 file, which is the whole file, or `size` bytes at `start` of an archive.
    """

    path: str
    width: int
    start: int = 0
    size: int = 0
    scheme: str = ""

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return ()

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """Rows `first` to `last`, [last - first, width]. Raises CheckpointError when they cannot be read."""
        import h5py

        try:
            part = FilePart(entry.file, self.start, self.size) if self.size else None
            with part or nullcontext(), h5py.File(part or entry.file, "r") as file:
                data = file[self.path]
                values = np.asarray(data[first:last] if entry.shape else data[()])
        except (OSError, KeyError, ValueError, RuntimeError, TypeError) as error:
            raise CheckpointError(f"'{entry.name}' cannot be read: {error}", where=entry.file) from error
        return values.astype(raw_dtype(entry.dtype), copy=False).reshape(-1, self.width)
