"""The files of a GGUF export: their headers, by the package `gguf`, and where the data of tensors lies in them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gguf
import numpy as np

from benchvise.core.export.gguf.entries import Metadata
from benchvise.core.export.gguf.tensors import GgufTensor

ALIGNMENT = 32
SPLIT_BYTES = 40_000_000_000
"""Data bytes per file above which a folder gets several: web sites take no larger ones."""


@dataclass(frozen=True)
class GgufFile:
    """One file. tensors: in the order in which they lie in it, each padded to `ALIGNMENT` bytes."""

    name: str
    header: bytes
    tensors: tuple[GgufTensor, ...]

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(padded(tensor.nbytes) for tensor in self.tensors)

    @property
    def offsets(self) -> Mapping[str, int]:
        """Where the data of each tensor starts in the file."""
        found, at = {}, len(self.header)
        for tensor in self.tensors:
            found[tensor.name] = at
            at += padded(tensor.nbytes)
        return found


def padded(nbytes: int) -> int:
    return -(-nbytes // ALIGNMENT) * ALIGNMENT


def gguf_files(
    name: str, architecture: str, metadata: Metadata, tensors: Sequence[GgufTensor], *, split: bool
) -> list[GgufFile]:
    """The files that hold the tensors: `name`, or NAME-00001-of-0000N.gguf … where `split` allows several."""
    several = split and sum(tensor.nbytes for tensor in tensors) > SPLIT_BYTES
    writer = _Headers(architecture, SPLIT_BYTES if several else 0)
    for key, entry in metadata.items():
        if entry.value != () and key != "general.architecture":
            element = None if entry.element is None else gguf.GGUFValueType(entry.element)
            writer.add_key_value(key, entry.value, gguf.GGUFValueType(entry.kind), element)
    by_name = {tensor.name: tensor for tensor in tensors}
    for tensor in tensors:
        writer.add(tensor)
    parts = [tuple(by_name[each] for each in part) for part in writer.tensors]
    names = [path.name for path in writer.format_shard_names(Path(name))]
    return [GgufFile(*each) for each in zip(names, writer.headers(), parts, strict=True)]


class _Headers(gguf.GGUFWriter):  # type: ignore[misc]
    """The package's writer, which writes headers into memory; the data of tensors comes from elsewhere, in pieces."""

    def __init__(self, architecture: str, split_bytes: int) -> None:
        super().__init__(None, architecture, split_max_size=split_bytes)

    def add(self, tensor: GgufTensor) -> None:
        kind: Any = gguf.GGMLQuantizationType[tensor.kind.upper()]
        self.add_tensor_info(tensor.name, tensor.shape, np.dtype(np.float32), tensor.nbytes, kind)

    def headers(self) -> list[bytes]:
        self.fout = [io.BytesIO() for _ in self.tensors]
        self.state = gguf.gguf_writer.WriterState.EMPTY
        self.write_header_to_file()
        self.write_kv_data_to_file()
        self.write_ti_data_to_file()
        found = [file.getvalue() for file in self.fout]
        return [header + bytes(padded(len(header)) - len(header)) for header in found]
