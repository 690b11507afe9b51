"""One pickle read without running anything, in memory bounded by the file's own size.

The standard library's unpickler in Python does the bookkeeping; every opcode that would import, call, or let a size
decide how much memory is taken is replaced. The one in C fills an array up to whatever number a value is remembered
under, which lets a file of 10 bytes claim 64 GB.

Source: https://docs.python.org/3/library/pickle.html; Lib/pickletools.py for the opcodes.
"""

from __future__ import annotations

import pickle
import struct
from collections.abc import Callable
from typing import IO, Any, ClassVar

from benchvise.core.checkpoint.pickled.bounded_file import BoundedFile
from benchvise.core.checkpoint.pickled.rebuild import build, call, is_known, storage_dtype
from benchvise.core.checkpoint.pickled.stand_ins import Global, Inert, Span, StorageRef, Text
from benchvise.core.errors import CheckpointError

MAX_OPCODES = 4_000_000
"""A hundred thousand tensors take 3 million."""

_MAX_TEXT = 4096
_STOP: Any = pickle._Stop  # type: ignore[attr-defined]
_LOAD_FROM_BYTES = Global("torch.storage", "_load_from_bytes")
_FAULTS = (
    pickle.UnpicklingError, EOFError, ValueError, TypeError, IndexError, AttributeError, KeyError, OverflowError,
    MemoryError, RecursionError, AssertionError, struct.error,
)  # fmt: skip


class PickleReader(pickle._Unpickler):
    """Reads one pickle; tensors come out as TensorRef, arrays as ArrayRef, unknown objects as Inert.

    storages: every storage that was named; unknown: the globals that are neither torch's nor numpy's, in order.
    """

    dispatch: ClassVar[dict[int, Callable[[Any], None]]] = dict(pickle._Unpickler.dispatch)

    def __init__(self, file: IO[bytes], where: str, end: int) -> None:
        """Raises nothing; `end` is where the file, or the member of an archive that holds the pickle, ends."""
        self._bounded = BoundedFile(file, end)
        super().__init__(self._bounded, encoding="utf-8", errors="replace")
        self.where = where
        self.storages: dict[str, StorageRef] = {}
        self.unknown: dict[Global, None] = {}
        self.load_storage: Callable[[Span], object] | None = None
        """What reads a storage that is a torch file within this pickle."""
        self.result: object = None

    def read_object(self) -> object:
        """The object pickled at the file's position. Raises CheckpointError when it cannot be understood."""
        try:
            return self._run()
        except _FAULTS as error:
            raise CheckpointError(
                f"The description of the tensors cannot be understood: {error}",
                where=self.where,
                remedy="It is no torch file, or it is damaged; download or save it again.",
            ) from error

    @property
    def position(self) -> int:
        """Where in the file the next object begins."""
        return self._bounded.tell()

    def find_class(self, module: str, name: str) -> Global:
        """The record that stands for a global; nothing is imported."""
        found = Global(str(module), str(name))
        if not is_known(found):
            self.unknown[found] = None
        return found

    def persistent_load(self, pid: object) -> object:
        """The storage of that persistent id: ('storage', kind, key, location, elements[, view]).

        Raises UnpicklingError for any other id.
        """
        match pid:
            case ("module", kind, *_):
                return kind
            case ("storage", kind, str(key), _, int(elements)) if elements >= 0:
                start = 0
            case ("storage", kind, str(key), _, int(elements), None) if elements >= 0:
                start = 0
            case ("storage", kind, str(key), _, int(elements), (_, int(start), int(_))) if start >= 0:
                pass
            case _:
                raise pickle.UnpicklingError("a persistent id that is not a storage")
        dtype = storage_dtype(kind)
        if dtype is None:
            raise pickle.UnpicklingError("a storage of an unknown kind")
        whole = self.storages.setdefault(key, StorageRef(key, dtype, elements, 0))
        if whole.dtype != dtype:
            raise pickle.UnpicklingError(f"storage {key} has two dtypes, {whole.dtype} and {dtype}")
        return StorageRef(key, dtype, elements, start)

    def _run(self) -> object:
        """`load` of the standard library without frames, which only say again what the opcodes in them say."""
        read, dispatch = self._bounded.read, self.dispatch
        self.read, self.readinto, self.readline = read, self._bounded.readinto, self._bounded.readline
        self.metastack: list[list[object]] = []
        self.stack: list[Any] = []
        self.append = self.stack.append
        self.proto = 0
        try:
            for _ in range(MAX_OPCODES):
                dispatch[read(1)[0]](self)
        except _STOP as stop:
            return stop.value
        raise pickle.UnpicklingError(f"more than {MAX_OPCODES:,} steps")

    def _frame(self) -> None:
        """A frame's length says nothing that the opcodes in it do not."""
        size = int.from_bytes(self._bounded.read(8), "little")
        self._bounded.require(size)

    def _bytes_of(self, width: int) -> None:
        """Bytes are data: they are known by their place."""
        size = int.from_bytes(self._bounded.read(width), "little")
        self.append(Span(self._bounded.skip(size), size))

    def _text_of(self, width: int) -> None:
        """Short text by value; longer text, which is data written by protocol 2, by its place."""
        size = int.from_bytes(self._bounded.read(width), "little")
        span = Span(self._bounded.tell(), size)
        if size > _MAX_TEXT:
            self._bounded.skip(size)
            self.append(span)
            return
        text = Text(self._bounded.read(size), "utf-8", "replace")
        text.span = span
        self.append(text)

    def _reduce(self) -> None:
        arguments = self.stack.pop()
        match (self.stack[-1], arguments):
            case (Global() as function, (Span() as span,)) if function == _LOAD_FROM_BYTES and self.load_storage:
                self.stack[-1] = self.load_storage(span)
            case _:
                self.stack[-1] = call(self.stack[-1], arguments if isinstance(arguments, tuple) else (arguments,))

    def _new_object(self) -> None:
        arguments = self.stack.pop()
        self.stack[-1] = call(self.stack[-1], arguments if isinstance(arguments, tuple) else ())

    def _new_object_with_keywords(self) -> None:
        self.stack.pop()
        self._new_object()

    def _object(self) -> None:
        arguments = self._since_mark()
        self.append(call(arguments[0], tuple(arguments[1:])))

    def _instance(self) -> None:
        module, name = (str(self.readline()[:-1], "utf-8", "replace") for _ in range(2))
        self.append(call(self.find_class(module, name), tuple(self._since_mark())))

    def _global_on_stack(self) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        if not isinstance(name, str) or not isinstance(module, str):
            raise pickle.UnpicklingError("a global whose name is no text")
        self.append(self.find_class(module, name))

    def _build(self) -> None:
        state = self.stack.pop()
        self.stack[-1] = build(self.stack[-1], state)

    def _set_item(self) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        _put(self.stack[-1], [key, value])

    def _set_items(self) -> None:
        _put(self._below_mark(), self._marked)

    def _append(self) -> None:
        value = self.stack.pop()
        _extend(self.stack[-1], [value])

    def _appends(self) -> None:
        _extend(self._below_mark(), self._marked)

    def _since_mark(self) -> list[Any]:
        """What was pushed since the last mark, which is taken off."""
        found = self.stack
        self.stack = self.metastack.pop()
        self.append = self.stack.append
        return found

    def _below_mark(self) -> object:
        """The object under the last mark; the values above it are in `_marked` then."""
        self._marked = self._since_mark()
        return self.stack[-1]

    def _dictionary(self) -> None:
        flat, made = self._since_mark(), dict[object, object]()
        _put(made, flat)
        self.append(made)

    def _long(self) -> None:
        """Numbers of more than 255 bytes have no place in a description of tensors."""
        raise pickle.UnpicklingError("a number of more than 255 bytes")

    def _frozen_set(self) -> None:
        self.append(self._since_mark())

    def _empty_set(self) -> None:
        self.append([])

    def _no_extension(self) -> None:
        raise pickle.UnpicklingError("a code of an extension registry")


def _put(target: object, flat: list[object]) -> None:
    """Puts keys and values, which alternate in `flat`, into a dictionary or what stands for one."""
    mapping = target.pairs if isinstance(target, Inert) else target
    if not isinstance(mapping, dict):
        raise pickle.UnpicklingError("an item of what is no dictionary")
    for key, value in zip(flat[::2], flat[1::2], strict=True):
        mapping[_as_key(key)] = value


def _as_key(key: object) -> object:
    """Hashing a nest of tuples takes time that doubles with its depth, so no container is a key."""
    if key is None or isinstance(key, str | int | float | bytes):
        return key
    if isinstance(key, tuple) and all(isinstance(part, str | int | float) for part in key):
        return key
    return f"<{type(key).__name__}>"


def _extend(target: object, values: list[object]) -> None:
    items = target.items if isinstance(target, Inert) else target
    if not isinstance(items, list):
        raise pickle.UnpicklingError("an item of what is no list")
    items.extend(values)


def _sized(step: Callable[[PickleReader, int], None], width: int) -> Callable[[PickleReader], None]:
    return lambda reader: step(reader, width)


_OPCODES: dict[bytes, Callable[[PickleReader], None]] = {
    pickle.FRAME: PickleReader._frame, pickle.REDUCE: PickleReader._reduce, pickle.BUILD: PickleReader._build,
    pickle.NEWOBJ: PickleReader._new_object, pickle.NEWOBJ_EX: PickleReader._new_object_with_keywords,
    pickle.OBJ: PickleReader._object, pickle.INST: PickleReader._instance,
    pickle.STACK_GLOBAL: PickleReader._global_on_stack,
    pickle.SETITEM: PickleReader._set_item, pickle.SETITEMS: PickleReader._set_items,
    pickle.APPEND: PickleReader._append, pickle.APPENDS: PickleReader._appends,
    pickle.EMPTY_SET: PickleReader._empty_set, pickle.ADDITEMS: PickleReader._appends,
    pickle.FROZENSET: PickleReader._frozen_set,
    pickle.DICT: PickleReader._dictionary, pickle.LONG4: PickleReader._long,
    pickle.EXT1: PickleReader._no_extension, pickle.EXT2: PickleReader._no_extension,
    pickle.EXT4: PickleReader._no_extension,
    pickle.SHORT_BINBYTES: _sized(PickleReader._bytes_of, 1), pickle.BINBYTES: _sized(PickleReader._bytes_of, 4),
    pickle.BINBYTES8: _sized(PickleReader._bytes_of, 8), pickle.BYTEARRAY8: _sized(PickleReader._bytes_of, 8),
    pickle.SHORT_BINSTRING: _sized(PickleReader._text_of, 1), pickle.BINSTRING: _sized(PickleReader._text_of, 4),
    pickle.SHORT_BINUNICODE: _sized(PickleReader._text_of, 1), pickle.BINUNICODE: _sized(PickleReader._text_of, 4),
    pickle.BINUNICODE8: _sized(PickleReader._text_of, 8),
}  # fmt: skip
PickleReader.dispatch.update({code[0]: step for code, step in _OPCODES.items()})
