"""Writing a safetensors file piece by piece: the header is known first, the data comes in any order of tensors."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
import torch

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_header import header_bytes


class SafetensorsWriter:
    """Writes `path` with the tensors in the order given; each is filled by one or more `write` calls in row order.

    Raises OSError as the file system does; the caller owns the file and removes it after an error.
    """

    def __init__(self, path: Path, tensors: Sequence[StoredTensor], metadata: Mapping[str, str] | None = None) -> None:
        header = header_bytes(tensors, metadata)
        self._next: dict[str, int] = {}
        self._end: dict[str, int] = {}
        offset = 0
        for tensor in tensors:
            self._next[tensor.name] = offset
            offset += tensor.nbytes
            self._end[tensor.name] = offset
        self._data = len(header)
        self._file = path.open("xb", buffering=0)
        try:
            self._put(0, memoryview(header))
            self._file.truncate(self._data + offset)
        except OSError:
            self._file.close()
            raise

    def write(self, name: str, values: torch.Tensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        """Append `values` of any shape [...] and of the declared dtype, row-major, to the tensor `name`.

        Raises ValueError when they would run over its end.
        """
        array = (
            values.detach().contiguous().view(-1).view(torch.uint8).numpy()
            if isinstance(values, torch.Tensor)
            else values
        )
        view = np.ascontiguousarray(array).reshape(-1).view(np.uint8).data
        start = self._next[name]
        if start + len(view) > self._end[name]:
            raise ValueError(f"'{name}' is declared with fewer bytes than are written to it")
        self._put(self._data + start, view)
        self._next[name] += len(view)

    def close(self) -> None:
        """Flush to the disk. Raises ValueError when a tensor was not written to its end."""
        missing = [name for name, end in self._end.items() if self._next[name] != end]
        if missing:
            self._file.close()
            raise ValueError(f"not written to the end: {', '.join(missing[:5])}")
        try:
            os.fsync(self._file.fileno())
        finally:
            self._file.close()

    def _put(self, offset: int, view: memoryview) -> None:
        self._file.seek(offset)
        while view:
            view = view[self._file.write(view) :]  # an unbuffered file may take less than it is given

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self.close()
        else:
            self._file.close()
