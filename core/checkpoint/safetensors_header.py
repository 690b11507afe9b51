"""The header of a `.safetensors` file, read and checked without touching the data.

The layout is 8 bytes with the header's length (little endian), the header as JSON, then the data. Checked here rather
than by the `safetensors` library because that one stops at the first fault, silently lets the last of two equal names
win, and needs the whole file mapped.

Bytes that belong to no tensor (holes, or a tail after the last one) are against the format's letter, but take nothing
away from the tensors that are described; they give a warning. Bytes that belong to two tensors are an error.

Source: https://huggingface.co/docs/safetensors, "Format".
"""

from __future__ import annotations

import json
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import BinaryIO, TypeGuard

from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header, reject_pointer
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.records import DTYPE_BITS, StoredTensor, TensorEntry
from benchvise.core.errors import CheckpointError

DTYPES: dict[str, str] = {
    "F64": "float64", "F32": "float32", "F16": "float16", "BF16": "bfloat16",
    "F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "F8_E8M0": "float8_e8m0fnu",
    "F8_E4M3FNUZ": "float8_e4m3fnuz", "F8_E5M2FNUZ": "float8_e5m2fnuz", "F4": "float4_e2m1fn_x2",
    "I64": "int64", "I32": "int32", "I16": "int16", "I8": "int8",
    "U64": "uint64", "U32": "uint32", "U16": "uint16", "U8": "uint8", "BOOL": "bool",
    "C64": "complex64",
}  # fmt: skip
"""What the format calls a dtype, and what torch calls it."""

MAX_HEADER_BYTES = 100_000_000
"""The limit of the reference implementation; 100,000 tensors need about 10 MB."""

_CODES = {name: code for code, name in DTYPES.items()}

_DAMAGED = "Download or save the file again: its header is damaged."
_CUT = "The file is incomplete; download or copy it again."


def read_header(path: Path) -> Header:
    """Reads and checks the header of the safetensors file at `path`. Raises CheckpointError with all its problems."""
    try:
        reject_pointer(path)
        size = path.stat().st_size
        with path.open("rb") as file:
            text = _header_text(file, size, path)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    described, problems = _parse(text, path)
    data_start = 8 + len(text)
    entries: list[TensorEntry] = []
    for name, info in described.items():
        entry = _entry(name, info, str(path), data_start)
        if isinstance(entry, TensorEntry):
            entries.append(entry)
        else:
            problems.append(entry)
    beyond = [entry for entry in entries if entry.offset + entry.nbytes > size]
    by_offset = sorted((entry for entry in entries if entry.nbytes), key=lambda entry: entry.offset)
    remedy = _CUT if beyond and not problems else _DAMAGED
    problems += _overlaps(by_offset)
    if beyond:
        needed = max(entry.offset + entry.nbytes for entry in beyond)
        problems.append(
            f"The tensors need a file of {needed:,} bytes, but it has {size:,}: "
            f"data of {len(beyond)} tensors, first '{beyond[0].name}', lies beyond its end"
        )
    if problems:
        raise checkpoint_error(problems, where=str(path), remedy=remedy)
    return Header(tuple(entries), _unused_bytes(by_offset, data_start, size, path))


def header_bytes(tensors: Sequence[StoredTensor], metadata: Mapping[str, str] | None = None) -> bytes:
    """What a file with these tensors in this order begins with: the header's length and the header, padded to 8 bytes.

    Raises KeyError for a dtype that the format does not have.
    """
    header: dict[str, object] = {"__metadata__": dict(metadata)} if metadata else {}
    offset = 0
    for tensor in tensors:
        header[tensor.name] = {
            "dtype": _CODES[tensor.dtype],
            "shape": _header_shape(tensor),
            "data_offsets": [offset, offset + tensor.nbytes],
        }
        offset += tensor.nbytes
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text


def _header_shape(tensor: StoredTensor) -> list[int]:
    """The format counts 4-bit values one by one; torch counts them in pairs."""
    if tensor.dtype == "float4_e2m1fn_x2":
        return [*tensor.shape[:-1], 2 * tensor.shape[-1]]
    return list(tensor.shape)


def _header_text(file: BinaryIO, size: int, path: Path) -> bytes:
    start = file.read(8)
    if len(start) < 8:
        raise CheckpointError(
            f"The file has only {size} bytes; a safetensors file has at least 10", where=str(path), remedy=_CUT
        )
    length = int.from_bytes(start, "little")
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"The header claims to be {length:,} bytes long; no more than {MAX_HEADER_BYTES:,} are allowed",
            where=str(path),
            remedy="This is probably not a safetensors file, or its first bytes are damaged; download it again.",
        )
    if length > size - 8:
        raise CheckpointError(
            f"The header is {length:,} bytes long, but the file has only {size:,}", where=str(path), remedy=_CUT
        )
    return file.read(length)


def _parse(text: bytes, path: Path) -> tuple[dict[str, object], list[str]]:
    """The tensors described in the header, and its repeated names as problems."""
    problems: list[str] = []

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        found = dict(pairs)
        if len(found) < len(pairs):
            counts = Counter(name for name, _ in pairs)
            problems.extend(f"The name '{name}' stands {n} times in the header" for name, n in counts.items() if n > 1)
        return found

    try:
        described = json.loads(text.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise CheckpointError(f"The header is not valid JSON: {error}", where=str(path), remedy=_DAMAGED) from error
    if not isinstance(described, dict):
        kind = type(described).__name__
        raise CheckpointError(f"The header is not a JSON object but a {kind}", where=str(path), remedy=_DAMAGED)
    described.pop("__metadata__", None)
    return described, problems


def _entry(name: str, info: object, file: str, data_start: int) -> TensorEntry | str:
    """The record of one tensor, or a sentence that says what is wrong with it."""
    if not isinstance(info, dict):
        return f"'{name}' is not described by an object"
    code, shape, span = info.get("dtype"), info.get("shape"), info.get("data_offsets")
    dtype = DTYPES.get(code) if isinstance(code, str) else None
    if dtype is None:
        return f"'{name}' has the unknown dtype {code!r}"
    if not _are_sizes(shape) or len(shape) > MAX_RANK:
        return f"'{name}' has the shape {shape!r}, which is not a list of sizes"
    if not _are_sizes(span) or len(span) != 2 or span[0] > span[1]:
        return f"'{name}' has the offsets {span!r}, which are not a start and an end"
    if math.prod(size or 1 for size in shape) > MAX_ELEMENTS:
        return f"'{name}' has the shape {shape!r}, which is larger than any memory"
    nbytes = span[1] - span[0]
    bits = 4 if code == "F4" else DTYPE_BITS[dtype]
    expected = math.prod(shape) * bits
    if nbytes * 8 != expected:
        return f"'{name}' has {nbytes:,} bytes of data, but {dtype} {shape!r} needs {math.ceil(expected / 8):,}"
    if code == "F4":
        if not shape or shape[-1] % 2:
            return f"'{name}' has the shape {shape!r}, but 4-bit values come in pairs along the last dimension"
        shape = [*shape[:-1], shape[-1] // 2]
    return TensorEntry(name, dtype, tuple(shape), file, data_start + span[0], nbytes)


def _are_sizes(value: object) -> TypeGuard[list[int]]:
    if not isinstance(value, list):
        return False
    return {*map(type, value)} <= {int} and min(value, default=0) >= 0


def _overlaps(by_offset: list[TensorEntry]) -> list[str]:
    problems = []
    last: TensorEntry | None = None
    for entry in by_offset:
        if last is not None and entry.offset < last.offset + last.nbytes:
            problems.append(f"The data of '{last.name}' and '{entry.name}' overlap")
        if last is None or entry.offset + entry.nbytes > last.offset + last.nbytes:
            last = entry
    return problems


def _unused_bytes(by_offset: list[TensorEntry], data_start: int, size: int, path: Path) -> tuple[str, ...]:
    unused = size - data_start - sum(entry.nbytes for entry in by_offset)
    if not unused:
        return ()
    return (f"{unused:,} bytes of {path.name} belong to no tensor; they are left out.",)
