"""Values whose bytes were written as the characters of a text in UTF-8, as protocol 2 of pickle does."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from benchvise.core.checkpoint.read import raw_dtype, read_bytes
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class LatinText:
    """The whole tensor is one line, because a character takes one byte or two.

    width: values of the tensor; text_bytes: of the text.
    """

    width: int
    text_bytes: int
    scheme: str = ""

    @property
    def parts(self) -> tuple[TensorEntry, ...]:
        return ()

    def lines(self, entry: TensorEntry, first: int, last: int) -> NDArray[np.generic]:
        """The values [1, width]. Raises CheckpointError when the text is not what it should be."""
        try:
            content = read_bytes(entry, entry.offset, self.text_bytes).tobytes().decode("utf-8").encode("latin-1")
        except UnicodeError:
            content = b""
        if len(content) != entry.nbytes:
            raise CheckpointError(f"The values of '{entry.name}' are damaged", where=entry.file)
        return np.frombuffer(content, raw_dtype(entry.dtype)).reshape(1, -1)[first:last]
