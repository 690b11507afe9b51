"""Values of GGUF metadata with the types that they are written as."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

TEXT, ARRAY = 8, 9
_COUNT, _NUMBER, _FLAG, _BYTE, _SIGNED = 4, 6, 7, 0, 5


@dataclass(frozen=True)
class MetadataEntry:
    """value: a number, a flag, a text, or a tuple of them. kind, element: types as GGUF counts them; element of arrays.

    Source: ggml/docs/gguf.md, `gguf_metadata_value_type`.
    """

    value: object
    kind: int
    element: int | None = None


Metadata = Mapping[str, MetadataEntry]


def count(value: int) -> MetadataEntry:
    return MetadataEntry(int(value), _COUNT)


def number(value: float) -> MetadataEntry:
    return MetadataEntry(float(value), _NUMBER)


def flag(value: object) -> MetadataEntry:
    return MetadataEntry(bool(value), _FLAG)


def text(value: str) -> MetadataEntry:
    return MetadataEntry(value, TEXT)


def texts(values: Iterable[str]) -> MetadataEntry:
    return MetadataEntry(tuple(values), ARRAY, TEXT)


def signed(values: Iterable[int]) -> MetadataEntry:
    """An array of 32-bit integers."""
    return MetadataEntry(tuple(values), ARRAY, _SIGNED)


def numbers(values: Iterable[float]) -> MetadataEntry:
    """An array of 32-bit floats."""
    return MetadataEntry(tuple(values), ARRAY, _NUMBER)


def octets(values: bytes) -> MetadataEntry:
    """An array of bytes."""
    return MetadataEntry(tuple(values), ARRAY, _BYTE)
