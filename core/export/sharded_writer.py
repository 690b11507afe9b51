"""The safetensors files of a folder, written in blocks."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from torch import Tensor

from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.export.folder import write_file
from benchvise.core.export.shards import INDEX_NAME, METADATA, Shards


class ShardedWriter:
    """`model.safetensors`, or `model-00001-of-0000N.safetensors` … with their index, while they are being written.

    A context manager; on a clean exit everything is on the disk (fsync). Raises OSError as the file system does.
    """

    def __init__(self, folder: Path, shards: Shards) -> None:
        self._folder = folder
        self._index_text = shards.index_text
        self._writers: dict[str, SafetensorsWriter] = {}
        with ExitStack() as opened:
            for shard in shards.files:
                writer = opened.enter_context(SafetensorsWriter(folder / shard.name, shard.tensors, METADATA))
                self._writers |= {tensor.name: writer for tensor in shard.tensors}
            self._opened = opened.pop_all()

    def write(self, name: str, values: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        """Append `values` (row-major, of the declared dtype, of any shape) to the tensor `name`."""
        self._writers[name].write(name, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        if kind is None and self._index_text:
            write_file(self._folder / INDEX_NAME, self._index_text)
