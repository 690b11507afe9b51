"""The safetensors files of a folder, written in blocks: one file, or several with an index above a size.

Every file is byte for byte the one that the `safetensors` library writes for the same tensors: the widest dtypes first
and by name among equals. Source: https://huggingface.co/docs/safetensors; the order is the reference implementation's.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np
from torch import Tensor

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.errors import OutputError

INDEX_NAME = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""Data bytes per file above which a checkpoint is split."""

_LAYOUT_ORDER = (
    "uint64", "int64", "float64", "complex64", "float32", "uint32", "int32", "bfloat16", "float16", "uint16", "int16",
    "float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu", "float8_e4m3fn", "float8_e5m2", "int8", "uint8",
    "float4_e2m1fn_x2", "bool",
)  # fmt: skip
_HEADER_BYTES_PER_TENSOR = 160


class ShardedWriter:
    """`model.safetensors`, or `model-00001-of-0000N.safetensors` … with their index, while they are being written.

    A context manager; on a clean exit everything is on the disk (fsync). Raises OSError as the file system does.
    """

    def __init__(self, folder: Path, tensors: Sequence[StoredTensor], shard_bytes: int = SHARD_BYTES) -> None:
        """tensors: in the order in which they are to be spread over the files. Raises OutputError for a dtype or a
        repeated name that the format cannot hold."""
        _check(tensors)
        shards = split(tensors, shard_bytes)
        self.names = shard_names(len(shards))
        self._folder = folder
        self._weight_map: dict[str, str] = {}
        self._total = sum(tensor.nbytes for tensor in tensors)
        self._writers: dict[str, SafetensorsWriter] = {}
        with ExitStack() as opened:
            for name, shard in zip(self.names, shards, strict=True):
                ordered = sorted(shard, key=lambda tensor: (_LAYOUT_ORDER.index(tensor.dtype), tensor.name.encode()))
                writer = opened.enter_context(SafetensorsWriter(folder / name, ordered, {"format": "pt"}))
                self._writers |= {tensor.name: writer for tensor in shard}
                self._weight_map |= {tensor.name: name for tensor in shard}
            self._opened = opened.pop_all()

    def write(self, name: str, values: Tensor | np.ndarray[tuple[int, ...], np.dtype[np.generic]]) -> None:
        """Append `values` (row-major) to the tensor `name`."""
        self._writers[name].write(name, values)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._opened.__exit__(kind, error, trace)
        if kind is None and len(self.names) > 1:
            index = {"metadata": {"total_size": self._total}, "weight_map": self._weight_map}
            write_file(self._folder / INDEX_NAME, json.dumps(index, indent=2, sort_keys=True) + "\n")


def split(tensors: Sequence[StoredTensor], shard_bytes: int) -> list[list[StoredTensor]]:
    """The tensors in order, in shards of at most `shard_bytes` (or of one larger tensor); at least one shard."""
    shards: list[list[StoredTensor]] = [[]]
    size = 0
    for tensor in tensors:
        if shards[-1] and size + tensor.nbytes > shard_bytes:
            shards.append([])
            size = 0
        shards[-1].append(tensor)
        size += tensor.nbytes
    return shards


def shard_names(count: int) -> tuple[str, ...]:
    if count == 1:
        return ("model.safetensors",)
    return tuple(f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1))


def bytes_needed(tensors: Sequence[StoredTensor]) -> int:
    """Bytes that the files will take: exact for the data, an upper estimate for headers and index."""
    names = sum(2 * len(tensor.name.encode()) + _HEADER_BYTES_PER_TENSOR for tensor in tensors)
    return sum(tensor.nbytes for tensor in tensors) + names


def write_file(path: Path, content: str | bytes) -> None:
    """Write a new small file and bring it to the disk (fsync)."""
    with path.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _check(tensors: Sequence[StoredTensor]) -> None:
    seen: set[str] = set()
    for tensor in tensors:
        if tensor.dtype not in _LAYOUT_ORDER:
            raise OutputError(
                f"'{tensor.name}' has the dtype {tensor.dtype}, which safetensors files cannot hold",
                remedy="Store that tensor in another dtype, or leave it out of the checkpoint.",
            )
        if tensor.name in seen or tensor.name == "__metadata__":
            raise OutputError(
                f"The tensor name '{tensor.name}' cannot be used twice in the output",
                remedy="Rename one of the tensors in the checkpoint.",
            )
        seen.add(tensor.name)
