"""Messages of Protocol Buffers, field by field, where they lie in a file.

Read here rather than by the packages that know the messages, because those load the whole file, values included.

Source: https://protobuf.dev/programming-guides/encoding.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from benchvise.core.checkpoint.formats.file_window import FileWindow

VARINT, BYTES = 0, 2
_FIXED = {1: 8, 5: 4}
_LONGEST_VARINT = 10


@dataclass(frozen=True, slots=True)
class Field:
    """One field of a message: its number, its value where that is an integer, and where its content lies in bytes."""

    number: int
    wire: int
    value: int
    start: int
    end: int


def fields(window: FileWindow, start: int, end: int) -> Iterator[Field]:
    """The fields of the message between two positions. Raises EOFError or ValueError where it is no message."""
    while start < end:
        window.count()
        key, start = _varint(window, start, end)
        number, wire = key >> 3, key & 7
        if not number:
            raise ValueError("a field has no number")
        value, stop = 0, start
        if wire == VARINT:
            value, stop = _varint(window, start, end)
        elif wire == BYTES:
            length, start = _varint(window, start, end)
            stop = window.require(start, length, end)
        elif wire in _FIXED:
            stop = window.require(start, _FIXED[wire], end)
        else:
            raise ValueError(f"a field is of the unknown form {wire}")
        yield Field(number, wire, value, start, stop)
        start = stop


def integers(window: FileWindow, field: Field) -> Iterator[int]:
    """The integers of a field that holds one, or several packed together."""
    if field.wire == VARINT:
        yield field.value
        return
    at = field.start
    while at < field.end:
        window.count()
        value, at = _varint(window, at, field.end)
        yield value


def text(window: FileWindow, field: Field, longest: int = 4096) -> str:
    """A field that holds a text. Raises ValueError when that is too long for a name."""
    if field.wire != BYTES or field.end - field.start > longest:
        raise ValueError("a name is longer than any name")
    return window.read(field.start, field.end - field.start).decode("utf-8", "replace")


def _varint(window: FileWindow, start: int, end: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(window.peek(start, min(_LONGEST_VARINT, end - start))):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, start + place + 1
    raise EOFError("a number is cut off")
