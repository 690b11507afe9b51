"""The initialisers of ONNX models, also those that lie in files beside them.

Source: onnx/onnx.proto, messages ModelProto, GraphProto, NodeProto, AttributeProto, TensorProto; docs/ExternalData.md.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path

from benchvise.core.checkpoint.encodings.varints import Varints
from benchvise.core.checkpoint.formats.file_window import FileWindow
from benchvise.core.checkpoint.formats.protobuf import BYTES, Field, fields, integers, text
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header, listed
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.shard_index import is_within
from benchvise.core.errors import CheckpointError

_MOST_FIELDS = 1_000_000
_DEEPEST = 16
_DTYPES = {
    1: "float32", 2: "uint8", 3: "int8", 4: "uint16", 5: "int16", 6: "int32", 7: "int64", 9: "bool", 10: "float16",
    11: "float64", 12: "uint32", 13: "uint64", 14: "complex64", 15: "complex128", 16: "bfloat16",
    17: "float8_e4m3fn", 18: "float8_e4m3fnuz", 19: "float8_e5m2", 20: "float8_e5m2fnuz", 24: "float8_e8m0fnu",
}  # fmt: skip
"""TensorProto.DataType of whole bytes. Texts and numbers of 4 bits are left out."""

_GRAPH, _NODES, _INITIALISERS, _SPARSE = 7, 1, 5, 15
_NODE_OUTPUT, _NODE_ATTRIBUTE = 2, 5
_ATTRIBUTE_TENSOR, _ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS = 5, 6, 11
_DIMENSIONS, _DATA_TYPE, _NAME, _RAW, _EXTERNAL, _LOCATION = 1, 2, 8, 9, 13, 14
_FIXED_DATA = {4: ("float32", "complex64"), 10: ("float64", "complex128")}
_VARINT_DATA = (5, 7, 11)


@dataclass
class _Tensor:
    """What a TensorProto says: dimensions, type, name, where its values lie and in which of its fields."""

    dimensions: list[int] = field(default_factory=list)
    data_type: int = 0
    name: str = ""
    data: list[Field] = field(default_factory=list)
    external: dict[str, str] = field(default_factory=dict)


@dataclass
class _Found:
    entries: dict[str, TensorEntry] = field(default_factory=dict)
    left_out: list[str] = field(default_factory=list)


def read_onnx_header(path: Path) -> Header:
    """Where the initialisers of the model at `path` lie, those of inner graphs and large constants of nodes included.

    Raises CheckpointError when it is no model of ONNX, is damaged, or names files outside its folder.
    """
    found = _Found()
    try:
        with path.open("rb") as file:
            window = FileWindow(file, _MOST_FIELDS)
            for graph in fields(window, 0, window.size):
                if graph.number == _GRAPH and graph.wire == BYTES:
                    _walk(window, graph, path, found, 0)
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    except (EOFError, ValueError) as error:
        raise CheckpointError(
            f"The ONNX model is damaged: {error}", where=str(path), remedy="Download or save it again."
        ) from error
    shown = f"{path.name} holds tensors that are not shown: {listed(found.left_out)}."
    warnings = (shown,) if found.left_out else ()
    return Header(tuple(found.entries.values()), warnings, kind="onnx", left_out=tuple(found.left_out))


def _walk(window: FileWindow, graph: Field, path: Path, found: _Found, depth: int) -> None:
    if depth > _DEEPEST:
        raise ValueError("its graphs lie too deep within each other")
    for part in fields(window, graph.start, graph.end):
        if part.wire != BYTES:
            continue
        if part.number == _INITIALISERS:
            _take(_tensor(window, part), path, window.size, found)
        elif part.number == _SPARSE:
            found.left_out.append("a sparse initialiser")
        elif part.number == _NODES:
            _walk_node(window, part, path, found, depth)


def _walk_node(window: FileWindow, node: Field, path: Path, found: _Found, depth: int) -> None:
    """The graphs within a node, and the tensor of a constant, which goes by the name of the node's output."""
    parts = [part for part in fields(window, node.start, node.end) if part.wire == BYTES]
    for attribute in (part for part in parts if part.number == _NODE_ATTRIBUTE):
        for part in fields(window, attribute.start, attribute.end):
            if part.wire != BYTES:
                continue
            if part.number in (_ATTRIBUTE_GRAPH, _ATTRIBUTE_GRAPHS):
                _walk(window, part, path, found, depth + 1)
            elif part.number == _ATTRIBUTE_TENSOR:
                tensor = _tensor(window, part)
                if len(tensor.dimensions) >= 2:
                    outputs = [text(window, part) for part in parts if part.number == _NODE_OUTPUT]
                    tensor.name = outputs[0] if outputs else tensor.name
                    _take(tensor, path, window.size, found)


def _tensor(window: FileWindow, message: Field) -> _Tensor:
    tensor = _Tensor()
    for part in fields(window, message.start, message.end):
        if part.number == _DIMENSIONS:
            tensor.dimensions += integers(window, part)
        elif part.number == _DATA_TYPE:
            tensor.data_type = part.value
        elif part.number == _NAME:
            tensor.name = text(window, part)
        elif part.number == _EXTERNAL and part.wire == BYTES:
            pair = {entry.number: text(window, entry) for entry in fields(window, part.start, part.end)}
            tensor.external[pair.get(1, "")] = pair.get(2, "")
        elif part.number == _RAW or part.number in _FIXED_DATA or part.number in _VARINT_DATA:
            tensor.data.append(part)
        if len(tensor.dimensions) > MAX_RANK:
            raise ValueError(f"'{tensor.name}' has more than {MAX_RANK} dimensions")
    return tensor


def _take(tensor: _Tensor, path: Path, size: int, found: _Found) -> None:
    dtype, name = _DTYPES.get(tensor.data_type), tensor.name
    if name in found.entries:
        return  # a constant of one branch and of the other
    if dtype is None or not name:
        found.left_out.append(name or "a tensor without a name")
        return
    shape = tuple(tensor.dimensions)
    if math.prod(extent or 1 for extent in shape) > MAX_ELEMENTS:
        raise ValueError(f"'{name}' is larger than any memory")
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if tensor.external:
        found.entries[name] = _outside(tensor, dtype, shape, nbytes, path)
        return
    entry = _within(tensor, dtype, shape, nbytes, path)
    if entry is None:
        found.left_out.append(name)
        return
    if entry.offset + entry.nbytes > size:
        raise ValueError(f"'{name}' needs {entry.nbytes:,} bytes, which the file does not have")
    found.entries[name] = entry


def _within(tensor: _Tensor, dtype: str, shape: tuple[int, ...], nbytes: int, path: Path) -> TensorEntry | None:
    """The record of a tensor whose values lie in the model; None where they lie in many pieces."""
    data = [part for part in tensor.data if part.wire != BYTES or part.end > part.start]
    if not nbytes:
        return TensorEntry(tensor.name, dtype, shape, str(path), 0, 0)
    if len(data) != 1 or data[0].wire != BYTES:
        if data:
            return None
        raise ValueError(f"'{tensor.name}' needs {nbytes:,} bytes, but none are there")
    place = data[0]
    stored = place.end - place.start
    if place.number in _VARINT_DATA:
        if not math.prod(shape) <= stored <= 10 * math.prod(shape):
            raise ValueError(f"'{tensor.name}' has {stored:,} bytes for {math.prod(shape):,} values")
        encoding = Varints(math.prod(shape))
        return TensorEntry(tensor.name, dtype, shape, str(path), place.start, stored, encoding=encoding)
    if stored != nbytes or dtype not in _FIXED_DATA.get(place.number, (dtype,)):
        raise ValueError(f"'{tensor.name}' needs {nbytes:,} bytes, but {stored:,} are there")
    return TensorEntry(tensor.name, dtype, shape, str(path), place.start, nbytes)


def _outside(tensor: _Tensor, dtype: str, shape: tuple[int, ...], nbytes: int, path: Path) -> TensorEntry:
    """The record of a tensor whose values lie in a file beside the model."""
    location = tensor.external.get("location", "")
    if not is_within(location):
        raise ValueError(f"'{tensor.name}' points outside its folder, to '{location[:80]}'")
    file = path.parent / location
    if not file.is_file():
        raise CheckpointError(
            f"The values of '{tensor.name}' are to lie in '{location}', which is missing",
            where=str(path),
            remedy="Download that file into the same folder.",
        )
    numbers = [tensor.external.get("offset") or "0", tensor.external.get("length") or str(nbytes)]
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        raise ValueError(f"'{tensor.name}' lies at no place in '{location}'")
    offset, length = map(int, numbers)
    if length != nbytes or offset + nbytes > file.stat().st_size:
        raise ValueError(f"'{tensor.name}' needs {nbytes:,} bytes, which '{location}' does not have")
    return TensorEntry(tensor.name, dtype, shape, str(file), offset, nbytes)
