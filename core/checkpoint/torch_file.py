"""The tensors of a torch file (`.bin`, `.pt`, `.pth`, …), checked, with their places in the file."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header, reject_pointer
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.state_dict import flatten, unwrap
from benchvise.core.checkpoint.torch_archive import read_archive
from benchvise.core.checkpoint.torch_pickle import TensorRef
from benchvise.core.errors import CheckpointError

_SHOWN = 4


def read_torch_header(path: Path) -> Header:
    """Reads the description of the tensors in the torch file at `path`; no data, and nothing is run.

    Tensors that share a storage become entries with the same place. Raises CheckpointError with all its problems.
    """
    try:
        reject_pointer(path)
        archive = read_archive(path)
        size = path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    root, left_out = unwrap(archive.root)
    tensors, others = flatten(root)
    counts = Counter(name for name, _ in tensors)
    problems = [f"The name '{name}' stands {count} times in the file" for name, count in counts.items() if count > 1]
    entries = []
    for name, tensor in tensors:
        offset, nbytes = archive.storages[tensor.storage.key]
        fault = _fault(name, tensor, min(nbytes, size - offset))
        if fault:
            problems.append(fault)
        else:
            entries.append(_entry(name, tensor, str(path), offset))
    if problems:
        raise checkpoint_error(problems, where=str(path), remedy="The file is damaged; download or save it again.")
    return Header(tuple(entries), _warnings(path, left_out, others))


def _fault(name: str, tensor: TensorRef, storage_bytes: int) -> str:
    """What is wrong with a tensor on a storage of so many bytes, or ""."""
    bits = DTYPE_BITS.get(tensor.dtype)
    if bits is None:
        return f"'{name}' has the unknown dtype {tensor.dtype}"
    sizes = [*tensor.shape, *tensor.strides, tensor.offset]
    if any(type(size) is not int or size < 0 for size in sizes) or len(tensor.shape) != len(tensor.strides):
        return f"'{name}' has the shape {tensor.shape} and strides {tensor.strides}, which do not describe a tensor"
    elements = math.prod(size or 1 for size in tensor.shape)
    if len(tensor.shape) > MAX_RANK or max(sizes) > MAX_ELEMENTS or elements > MAX_ELEMENTS:
        return f"'{name}' has the shape {tensor.shape}, which is larger than any memory"
    if 0 in tensor.shape:
        return ""
    last = sum((size - 1) * stride for size, stride in zip(tensor.shape, tensor.strides, strict=True))
    needed = (_first(tensor) + last + 1) * bits // 8
    if needed > storage_bytes:
        return f"'{name}' needs {needed:,} bytes of its storage, but the file has {max(0, storage_bytes):,} of them"
    return ""


def _entry(name: str, tensor: TensorRef, file: str, storage_offset: int) -> TensorEntry:
    width = DTYPE_BITS[tensor.dtype] // 8
    strides = None if _is_row_major(tensor) else tensor.strides
    nbytes = math.prod(tensor.shape) * width
    return TensorEntry(name, tensor.dtype, tensor.shape, file, storage_offset + _first(tensor) * width, nbytes, strides)


def _first(tensor: TensorRef) -> int:
    return tensor.storage.start + tensor.offset


def _is_row_major(tensor: TensorRef) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size > 1 and stride != expected:
            return 0 in tensor.shape
        expected *= size
    return True


def _warnings(path: Path, left_out: list[str], others: list[str]) -> tuple[str, ...]:
    warnings = []
    if left_out:
        warnings.append(f"Beside the weights, {path.name} holds {_listed(left_out)}; they are left out.")
    if others:
        warnings.append(f"{len(others)} values in {path.name} are not tensors: {_listed(others)}; they are left out.")
    return tuple(warnings)


def _listed(names: list[str]) -> str:
    rest = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + rest
