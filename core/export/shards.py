"""How tensors lie in the safetensors files of a folder: one file, or several with an index above a size. No tensors.

Every file is byte for byte the one that the `safetensors` library writes for the same tensors: the widest dtypes first
and by name among equals. Source: https://huggingface.co/docs/safetensors; the order is the reference implementation's.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_header import header_bytes
from benchvise.core.errors import OutputError

INDEX_NAME = "model.safetensors.index.json"
SHARD_BYTES = 5_000_000_000
"""Data bytes per file above which a checkpoint is split."""

METADATA = {"format": "pt"}

_LAYOUT_ORDER = (
    "uint64", "int64", "float64", "complex64", "float32", "uint32", "int32", "bfloat16", "float16", "uint16", "int16",
    "float8_e5m2fnuz", "float8_e4m3fnuz", "float8_e8m0fnu", "float8_e4m3fn", "float8_e5m2", "int8", "uint8",
    "float4_e2m1fn_x2", "bool",
)  # fmt: skip


@dataclass(frozen=True)
class Shard:
    """One file. tensors: in the order in which they lie in it."""

    name: str
    tensors: tuple[StoredTensor, ...]

    @property
    def header(self) -> bytes:
        """What comes before the data: the header's length and the header."""
        return header_bytes(self.tensors, METADATA)

    @property
    def nbytes(self) -> int:
        return len(self.header) + sum(tensor.nbytes for tensor in self.tensors)


class Shards:
    """The files of a folder."""

    def __init__(self, tensors: Sequence[StoredTensor], shard_bytes: int | None = None) -> None:
        """tensors: in the order in which they are to be spread over the files. shard_bytes: `SHARD_BYTES` by default.

        Raises OutputError for a dtype or a repeated name that the format cannot hold.
        """
        _check(tensors)
        parts = split(tensors, SHARD_BYTES if shard_bytes is None else shard_bytes)
        self.total = sum(tensor.nbytes for tensor in tensors)
        self.files = tuple(
            Shard(name, tuple(sorted(part, key=_place))) for name, part in zip(_names(len(parts)), parts, strict=True)
        )

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(shard.name for shard in self.files)

    @cached_property
    def index_text(self) -> str:
        """The content of the index, "" for a single file."""
        if len(self.files) == 1:
            return ""
        weight_map = {tensor.name: shard.name for shard in self.files for tensor in shard.tensors}
        index = {"metadata": {"total_size": self.total}, "weight_map": weight_map}
        return json.dumps(index, indent=2, sort_keys=True) + "\n"

    @property
    def disk_bytes(self) -> int:
        """Exact bytes of all files, the index included."""
        return sum(shard.nbytes for shard in self.files) + len(self.index_text.encode())

    def offsets(self) -> Iterator[tuple[str, str, int]]:
        """(name of the tensor, name of its file, where its data starts there)."""
        for shard in self.files:
            offset = len(shard.header)
            for tensor in shard.tensors:
                yield tensor.name, shard.name, offset
                offset += tensor.nbytes


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


def _names(count: int) -> tuple[str, ...]:
    if count == 1:
        return ("model.safetensors",)
    return tuple(f"model-{number:05d}-of-{count:05d}.safetensors" for number in range(1, count + 1))


def _place(tensor: StoredTensor) -> tuple[int, bytes]:
    return _LAYOUT_ORDER.index(tensor.dtype), tensor.name.encode()


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
