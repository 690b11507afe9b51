"""Values of GGUF metadata with the types that they are written as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TEXT, ARRAY = 8, 9
_COUNT, _NUMBER, _FLAG, _BYTE, _SIGNED = 4, 6, 7, 0, 5


@dataclass(frozen=True)
class Entry:
    """value: a number, a flag, a text, or a tuple of them. kind, element: types as GGUF counts them; element of arrays.

    Source: ggml/docs/gguf.md, `gguf_metadata_value_type`.
    """

    value: object
    kind: int
    element: int | None = None


Metadata = Mapping[str, Entry]


def count(value: int) -> Entry:
    return Entry(int(value), _COUNT)


def number(value: float) -> Entry:
    return Entry(float(value), _NUMBER)


def flag(value: object) -> Entry:
    return Entry(bool(value), _FLAG)


def text(value: str) -> Entry:
    return Entry(value, TEXT)


def texts(values: Iterable[str]) -> Entry:
    return Entry(tuple(values), ARRAY, TEXT)


def signed(values: Iterable[int]) -> Entry:
    """An array of 32-bit integers."""
    return Entry(tuple(values), ARRAY, _SIGNED)


def numbers(values: Iterable[float]) -> Entry:
    """An array of 32-bit floats."""
    return Entry(tuple(values), ARRAY, _NUMBER)


def octets(values: bytes) -> Entry:
    """An array of bytes."""
    return Entry(tuple(values), ARRAY, _BYTE)
