"""The header of a GGUF file: what it says of the model, and the list of its tensors. Nothing is read beyond it.

Source: ggml/docs/gguf.md.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from benchvise.core.checkpoint.encodings.gguf_types import TYPES
from benchvise.core.errors import CheckpointError

_FORMATS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
_TEXT, _ARRAY = 8, 9
_MAX_HEADER = 512 << 20
_MAX_KEPT = 4096
_MAX_DIMENSIONS = 4
_FIRST_READ = 1 << 20
_CUT = "The file is incomplete or damaged; download it again."

MetadataValue = int | float | bool | str | tuple["MetadataValue", ...]


@dataclass(frozen=True, slots=True)
class ListedTensor:
    """One tensor as the file lists it; shape [..., columns], offset in the file."""

    name: str
    shape: tuple[int, ...]
    kind: int
    offset: int
    nbytes: int


@dataclass
class Listing:
    """values: by key; of long arrays there is only the length, in `lengths`."""

    values: dict[str, MetadataValue] = field(default_factory=dict)
    lengths: dict[str, int] = field(default_factory=dict)
    tensors: list[ListedTensor] = field(default_factory=list)

    def text(self, key: str) -> str:
        found = self.values.get(key)
        return found if isinstance(found, str) else ""

    def number(self, key: str) -> float | None:
        """A number; the largest where the file gives one for each layer."""
        found = self.values.get(key)
        if isinstance(found, tuple):
            numbers = [value for value in found if isinstance(value, int | float)]
            return max(numbers, default=None)
        return found if isinstance(found, int | float) and not isinstance(found, bool) else None

    def integer(self, key: str) -> int | None:
        found = self.number(key)
        return int(found) if found is not None and found == found and abs(found) < 2**53 else None


def read_listing(file: IO[bytes], size: int, where: str) -> Listing:
    """The header of the GGUF file of `size` bytes. Raises CheckpointError when it is damaged, or lies."""
    cursor = _Cursor(file, size, where)
    cursor.take(4)
    version = cursor.number("<I")
    if version not in (2, 3):
        raise CheckpointError(
            f"The file is of version {version} of GGUF; versions 2 and 3 are read",
            where=where,
            remedy="Convert it anew with the llama.cpp of today.",
        )
    tensors, pairs = cursor.count(24), cursor.count(13)
    listing = Listing()
    for _ in range(pairs):
        key = cursor.text()
        value, length = cursor.value(cursor.number("<I"))
        if value is None:
            listing.lengths[key] = length
        else:
            listing.values[key] = value
    listed = [_listed(cursor) for _ in range(tensors)]
    alignment = listing.integer("general.alignment") or 32
    if not 0 < alignment <= 1 << 20:
        raise cursor.damaged(f"it aligns tensors to {alignment} bytes")
    start = -(-cursor.at // alignment) * alignment
    listing.tensors = [_placed(name, shape, kind, start + offset, cursor) for name, shape, kind, offset in listed]
    return listing


@dataclass(frozen=True, slots=True)
class TypedValue:
    """A value as the file types it. element: the type of an array's values, -1 where it is no array."""

    value: MetadataValue
    kind: int
    element: int = -1


def read_typed_values(path: Path) -> dict[str, TypedValue]:
    """All that the file at `path` says of its model, with long arrays, by key.

    Raises CheckpointError as `read_listing`.
    """
    try:
        with path.open("rb") as file:
            cursor = _Cursor(file, path.stat().st_size, str(path))
            cursor.take(16)  # read_listing has looked at the version
            return {cursor.text(): cursor.typed(cursor.number("<I")) for _ in range(cursor.count(13))}
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error


def _listed(cursor: _Cursor) -> tuple[str, tuple[int, ...], int, int]:
    name, rank = cursor.text(), cursor.number("<I")
    if rank > _MAX_DIMENSIONS:
        raise cursor.damaged(f"'{name[:80]}' has {rank} dimensions")
    sizes = tuple(int(cursor.number("<Q")) for _ in range(rank))
    return name, sizes[::-1], int(cursor.number("<I")), int(cursor.number("<Q"))


def _placed(name: str, shape: tuple[int, ...], kind: int, offset: int, cursor: _Cursor) -> ListedTensor:
    found = TYPES.get(kind)
    if found is None:
        raise CheckpointError(
            f"'{name[:80]}' has the type {kind}, which is not known",
            where=cursor.where,
            remedy="The file was written by a newer or another program than llama.cpp.",
        )
    elements = 1
    for size in shape:
        elements *= size
    if elements >= 2**58 or (shape and shape[-1] % found.block) or elements % found.block:
        raise cursor.damaged(f"'{name[:80]}' has the shape {list(shape)}, which {found.name} cannot hold")
    nbytes = elements // found.block * found.nbytes
    if offset + nbytes > cursor.size:
        raise cursor.damaged(f"'{name[:80]}' needs {nbytes:,} bytes at {offset:,}, beyond the end")
    return ListedTensor(name, shape, kind, offset, nbytes)


class _Cursor:
    """Reads the header in growing pieces, never more than the file has."""

    def __init__(self, file: IO[bytes], size: int, where: str) -> None:
        self.size, self.where, self.at = size, where, 0
        self._file = file
        self._buffer = b""

    def damaged(self, what: str) -> CheckpointError:
        return CheckpointError(f"The header of the GGUF file is damaged: {what}", where=self.where, remedy=_CUT)

    def take(self, count: int) -> bytes:
        end = self.at + count
        if end > len(self._buffer):
            self._grow(end)
        found = self._buffer[self.at : end]
        self.at = end
        return found

    def number(self, form: str) -> int:
        found: int = struct.unpack(form, self.take(struct.calcsize(form)))[0]
        return found

    def count(self, least: int) -> int:
        """A number of things of at least `least` bytes each."""
        found = self.number("<Q")
        if found * least > self.size - self.at:
            raise self.damaged(f"it counts {found:,} entries, which the file has no room for")
        return found

    def text(self) -> str:
        return self.take(self.count(1)).decode("utf-8", "replace")

    def value(self, kind: int) -> tuple[MetadataValue | None, int]:
        """A value; None and the length for an array that is too long to keep, or of texts."""
        if kind == _TEXT:
            return self.text(), 0
        if kind != _ARRAY:
            return self._plain(kind), 0
        kind = self.number("<I")
        if kind == _ARRAY:
            raise self.damaged("an array of arrays")
        count = self.count(8 if kind == _TEXT else struct.calcsize(self._form(kind)))
        if kind == _TEXT:
            self._skip_texts(count)
            return None, count
        if count > _MAX_KEPT:
            self.take(count * struct.calcsize(self._form(kind)))
            return None, count
        return tuple(self._plain(kind) for _ in range(count)), count

    def typed(self, kind: int) -> TypedValue:
        """A value with its type, whatever its length."""
        if kind != _ARRAY:
            return TypedValue(self.text() if kind == _TEXT else self._plain(kind), kind)
        element = self.number("<I")
        if element == _ARRAY:
            raise self.damaged("an array of arrays")
        if element == _TEXT:
            return TypedValue(tuple(self.text() for _ in range(self.count(8))), kind, element)
        form = self._form(element)
        count = self.count(struct.calcsize(form))
        raw = self.take(count * struct.calcsize(form))
        return TypedValue(tuple(value for (value,) in struct.iter_unpack(form, raw)), kind, element)

    def _skip_texts(self, count: int) -> None:
        for _ in range(count):
            if self.at + 8 > len(self._buffer):
                self._grow(self.at + 8)
            length = int.from_bytes(self._buffer[self.at : self.at + 8], "little")
            self.at += 8 + length
            if self.at > len(self._buffer):
                self._grow(self.at)

    def _plain(self, kind: int) -> MetadataValue:
        return self.number(self._form(kind))

    def _form(self, kind: int) -> str:
        form = _FORMATS.get(kind)
        if form is None:
            raise self.damaged(f"a value of the type {kind}")
        return form

    def _grow(self, end: int) -> None:
        if end > self.size:
            raise self.damaged(f"it needs {end:,} bytes, and the file has {self.size:,}")
        if end > _MAX_HEADER:
            raise self.damaged(f"it is longer than {_MAX_HEADER:,} bytes")
        wanted = min(max(end, 2 * len(self._buffer), _FIRST_READ), self.size)
        self._buffer += self._file.read(wanted - len(self._buffer))
        if end > len(self._buffer):
            raise self.damaged("the file ends within it")
