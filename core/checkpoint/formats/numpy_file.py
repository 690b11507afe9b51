"""The arrays of `.npz` and `.npy` files.

Source: numpy/lib/format.py, "Format Version 1.0" and after.
"""

from __future__ import annotations

import ast
import math
from dataclasses import replace
from pathlib import Path

from benchvise.core.checkpoint.encodings.deflated import MAX_GROWTH, DeflatedArray
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.torch_file import NUMPY_DTYPES
from benchvise.core.checkpoint.zip_directory import STORED, Member, read_directory, read_member
from benchvise.core.errors import CheckpointError

_MAGIC = b"\x93NUMPY"
_MAX_HEADER = 1 << 16


def read_npz_header(path: Path) -> Header:
    """Reads the headers of the arrays in the archive at `path`. Raises CheckpointError when it is damaged."""
    entries: list[TensorEntry] = []
    problems: list[str] = []
    left_out: list[str] = []
    try:
        with path.open("rb") as file:
            for member in read_directory(file, str(path)).values():
                name = member.name.removesuffix(".npy")
                head = read_member(file, member, _MAX_HEADER, str(path))
                found = _entry(name, head, str(path), member.offset, member.size)
                if isinstance(found, TensorEntry) and member.method != STORED:
                    found = _deflated(found, member)
                _sort(found, name, entries, problems, left_out)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    return _header(entries, problems, left_out, path, "npz")


def read_npy_header(path: Path) -> Header:
    """Reads the header of the one array at `path`. Raises CheckpointError when it is damaged."""
    entries: list[TensorEntry] = []
    problems: list[str] = []
    left_out: list[str] = []
    try:
        with path.open("rb") as file:
            found = _entry(path.stem, file.read(_MAX_HEADER), str(path), 0, path.stat().st_size)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    _sort(found, path.stem, entries, problems, left_out)
    return _header(entries, problems, left_out, path, "npy")


def _deflated(entry: TensorEntry, member: Member) -> TensorEntry | str:
    """The array of a compressed member; a sentence where it claims more than its bytes can be unpacked to."""
    if member.size > MAX_GROWTH * max(1, member.packed) or not entry.elements:
        return f"'{entry.name}' cannot be unpacked to {member.size:,} bytes" if entry.elements else entry
    skipped = entry.offset - member.offset
    encoding = DeflatedArray(member, skipped, entry.elements, entry.strides is not None)
    return replace(entry, offset=member.offset, strides=None, encoding=encoding)


def _sort(
    found: TensorEntry | str, name: str, entries: list[TensorEntry], problems: list[str], left_out: list[str]
) -> None:
    if isinstance(found, TensorEntry):
        entries.append(found)
    elif found:
        problems.append(found)
    else:
        left_out.append(name)


def _header(entries: list[TensorEntry], problems: list[str], left_out: list[str], path: Path, kind: str) -> Header:
    if problems:
        raise checkpoint_error(problems, where=str(path), remedy="The file is damaged; download or save it again.")
    return Header(tuple(entries), kind=kind, left_out=tuple(left_out))


def _entry(name: str, head: bytes, file: str, offset: int, size: int) -> TensorEntry | str:
    """The record of one array; a sentence that says what is wrong with it, or "" where it holds no numbers."""
    width = 2 if head[6:7] == b"\x01" else 4
    start = 8 + width
    length = int.from_bytes(head[8:start], "little")
    if not head.startswith(_MAGIC) or length > len(head) - start:
        return f"'{name}' has no header of numpy"
    try:
        described = ast.literal_eval(head[start : start + length].decode("latin-1").strip())
        code, fortran, shape = described["descr"], bool(described["fortran_order"]), described["shape"]
    except (ValueError, SyntaxError, KeyError, TypeError, MemoryError, RecursionError):
        return f"'{name}' has a damaged header"
    dtype = NUMPY_DTYPES.get(code[1:]) if isinstance(code, str) and code[:1] in ("<", "|") else None
    if dtype is None:
        return ""
    if not isinstance(shape, tuple) or len(shape) > MAX_RANK or not all(type(x) is int and x >= 0 for x in shape):
        return f"'{name}' has a shape which does not describe an array"
    if math.prod(extent or 1 for extent in shape) > MAX_ELEMENTS:
        return f"'{name}' is larger than any memory"
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if nbytes > size - start - length:
        return f"'{name}' needs {nbytes:,} bytes, but {size - start - length:,} are there"
    strides = tuple(math.prod(shape[:axis]) for axis in range(len(shape))) if fortran and len(shape) > 1 else None
    return TensorEntry(name, dtype, shape, file, offset + start + length, nbytes, strides)
