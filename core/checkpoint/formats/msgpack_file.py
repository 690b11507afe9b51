"""The arrays of MessagePack files, as Flax writes them.

Read here rather than by the package `msgpack`, which reads all values to find the next name.

Source: https://github.com/msgpack/msgpack/blob/master/spec.md; flax/serialization.py, `_ndarray_to_bytes` and `_chunk`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchvise.core.checkpoint.formats.file_window import FileWindow
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.training_state import is_training_state
from benchvise.core.errors import CheckpointError

_MOST_ITEMS = 1_000_000
_DEEPEST = 64
_LONGEST_NAME = 4096
_ARRAY, _SCALAR = 1, 3
_CHUNKED = "__msgpack_chunked_array__"

_SIZED = {
    0xC4: ("bytes", 1), 0xC5: ("bytes", 2), 0xC6: ("bytes", 4), 0xD9: ("text", 1), 0xDA: ("text", 2), 0xDB: ("text", 4),
    0xDC: ("list", 2), 0xDD: ("list", 4), 0xDE: ("map", 2), 0xDF: ("map", 4),
    0xC7: ("extension", 1), 0xC8: ("extension", 2), 0xC9: ("extension", 4),
}  # fmt: skip
_FIXED_EXTENSIONS = {0xD4: 1, 0xD5: 2, 0xD6: 4, 0xD7: 8, 0xD8: 16}
_NUMBERS = {0xCA: 4, 0xCB: 8, 0xCC: 1, 0xCD: 2, 0xCE: 4, 0xCF: 8, 0xD0: 1, 0xD1: 2, 0xD2: 4, 0xD3: 8}
_PLAIN = {0xC0: None, 0xC2: False, 0xC3: True}


@dataclass(frozen=True, slots=True)
class _Bytes:
    """Bytes of the file; `code` is that of an extension, or −1."""

    start: int
    end: int
    code: int = -1


class _Walk:
    """Reads values in order; numbers above small ones are passed over, bytes give their place."""

    def __init__(self, window: FileWindow) -> None:
        self.window = window
        self.at = 0

    def value(self, depth: int = 0) -> Any:
        if depth > _DEEPEST:
            raise ValueError("its parts lie too deep within each other")
        kind, size = self._next()
        if kind == "number":
            return size
        if kind == "text":
            if size > _LONGEST_NAME:
                self.at = self.window.require(self.at, size)
                return ""
            return self._read(size).decode("utf-8", "replace")
        if kind == "bytes" or kind == "extension":
            code = self._read(1)[0] if kind == "extension" else -1
            start, self.at = self.at, self.window.require(self.at, size)
            return _Bytes(start, self.at, code)
        self.window.require(self.at, size * (2 if kind == "map" else 1))  # each item takes a byte at least
        if kind == "list":
            return [self.value(depth + 1) for _ in range(size)]
        found: dict[str, Any] = {}
        for _ in range(size):
            key = self.value(depth + 1)
            if not isinstance(key, str | int) or str(key) in found:
                raise ValueError("a key is no name, or stands there twice")
            found[str(key)] = self.value(depth + 1)
        return found

    def whole(self) -> dict[str, Any]:
        root = self.value()
        if not isinstance(root, dict) or self.at != self.window.size:
            raise ValueError("it is no mapping of names to arrays")
        return root

    def _next(self) -> tuple[str, Any]:
        self.window.count()
        first = self._read(1)[0]
        if first < 0x80 or first >= 0xE0:
            return "number", first if first < 0x80 else first - 256
        if first < 0xC0:
            known = (("map", 0xF), ("list", 0xF))[first >> 4 & 1] if first < 0xA0 else ("text", 0x1F)
            return known[0], first & known[1]
        if first in _SIZED:
            kind, width = _SIZED[first]
            return kind, int.from_bytes(self._read(width), "big")
        if first in _FIXED_EXTENSIONS:
            return "extension", _FIXED_EXTENSIONS[first]
        if first in _NUMBERS:
            return "number", int.from_bytes(self._read(_NUMBERS[first]), "big")
        if first in _PLAIN:
            return "number", _PLAIN[first]
        raise ValueError(f"the byte {first} begins nothing")

    def _read(self, count: int) -> bytes:
        start, self.at = self.at, self.window.require(self.at, count)
        return self.window.read(start, count)


def read_msgpack_header(path: Path) -> Header:
    """Where the arrays of the file at `path` lie; their names are the keys that lead to them, with dots between.

    Raises CheckpointError when it is damaged, or no mapping of names.
    """
    entries: list[TensorEntry] = []
    left_out: list[str] = []
    try:
        with path.open("rb") as file:
            window = FileWindow(file, _MOST_ITEMS)
            walk = _Walk(window)
            _collect(window, "", _weights_of(walk.whole(), left_out), str(path), entries, left_out)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    except (EOFError, ValueError) as error:
        raise CheckpointError(
            f"The MessagePack file is damaged: {error}", where=str(path), remedy="Download or save it again."
        ) from error
    return Header(tuple(entries), kind="msgpack", left_out=tuple(left_out))


def _weights_of(root: dict[str, Any], left_out: list[str]) -> dict[str, Any]:
    """Without what training keeps beside the weights, and without a lonely `params` around them."""
    kept = {}
    for key, value in root.items():
        if not isinstance(value, dict | _Bytes) or (isinstance(value, dict) and is_training_state(key, (), value)):
            left_out.append(key)
        else:
            kept[key] = value
    only = next(iter(kept.values())) if set(kept) == {"params"} else None
    return only if isinstance(only, dict) and _CHUNKED not in only else kept


def _collect(
    window: FileWindow, prefix: str, value: Any, file: str, entries: list[TensorEntry], left_out: list[str]
) -> None:
    if isinstance(value, dict) and _CHUNKED not in value:
        for key, inner in value.items():
            _collect(window, f"{prefix}.{key}" if prefix else key, inner, file, entries, left_out)
    elif isinstance(value, dict):
        left_out.append(prefix)  # above 1 GB Flax cuts an array into pieces, which do not lie one after another
    elif isinstance(value, _Bytes) and value.code in (_ARRAY, _SCALAR):
        entry = _entry(window, prefix, value, file)
        if entry is None:
            left_out.append(prefix)
        else:
            entries.append(entry)
    elif value is not None:
        left_out.append(prefix)


def _entry(window: FileWindow, name: str, place: _Bytes, file: str) -> TensorEntry | None:
    """The record of one array: shape, dtype and bytes, packed once more. None where its dtype is not known."""
    walk = _Walk(window)
    walk.at = place.start
    described = walk.value()
    if walk.at > place.end or not isinstance(described, list) or len(described) != 3:
        raise ValueError(f"'{name}' is no array")
    shape, dtype, data = described
    if not isinstance(shape, list) or not isinstance(data, _Bytes) or not isinstance(dtype, str):
        raise ValueError(f"'{name}' is no array")
    if len(shape) > MAX_RANK or not all(type(extent) is int and extent >= 0 for extent in shape):
        raise ValueError(f"'{name}' has a shape which does not describe an array")
    if dtype not in DTYPE_BITS:
        return None
    if math.prod(extent or 1 for extent in shape) > MAX_ELEMENTS:
        raise ValueError(f"'{name}' is larger than any memory")
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if nbytes != data.end - data.start:
        raise ValueError(f"'{name}' needs {nbytes:,} bytes, but {data.end - data.start:,} are there")
    return TensorEntry(name, dtype, tuple(shape), file, data.start, nbytes)
