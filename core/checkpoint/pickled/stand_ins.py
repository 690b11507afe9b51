"""What stands for the objects of a pickle: plain records that cannot do anything.

A pickle is a program: it may name any function and have it called. Here no name is looked up: each becomes a `Global`,
and calling one makes an `Inert` object, which holds its arguments and its state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import NamedTuple


class Global(NamedTuple):
    """A class or function that the pickle names. It is never imported."""

    module: str
    name: str

    @property
    def path(self) -> str:
        return f"{self.module}.{self.name}"


class StorageRef(NamedTuple):
    """A storage the file holds elsewhere: `elements` values of `dtype` under `key`; a view begins `start` values in."""

    key: str
    dtype: str
    elements: int
    start: int


class TensorRef(NamedTuple):
    """A tensor on a storage: `offset` and `strides` in elements of `dtype`. Nothing about it has been checked."""

    storage: StorageRef
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]
    dtype: str


class Span(NamedTuple):
    """Bytes that lie within the pickle, at `offset` of the file; `text` where they are Latin-1 written as UTF-8."""

    offset: int
    nbytes: int
    text: bool = False


class Text(str):
    """A text that knows where in the file it lies, because protocol 2 writes the bytes of arrays as texts."""

    __slots__ = ("span",)
    span: Span


@dataclass(eq=False, slots=True)
class Inert:
    """An object that was not made: what would have been called, with what, and what would have been put into it."""

    origin: Global
    arguments: tuple[object, ...] = ()
    state: object = None
    items: list[object] = field(default_factory=list)
    pairs: dict[object, object] = field(default_factory=dict)


@dataclass(eq=False, slots=True)
class DtypeRef:
    """A dtype of numpy: its code as in "f4", its byte order ("<", ">", "|")."""

    code: str
    order: str = "|"


@dataclass(eq=False, slots=True)
class ArrayRef:
    """An array of numpy whose values lie within the pickle. Nothing about it has been checked."""

    shape: tuple[object, ...] = ()
    dtype: DtypeRef | None = None
    fortran: bool = False
    span: Span | None = None
