"""The tensors of a torch file (`.bin`, `.pt`, `.pth`, …) or another pickle, checked, with their places in the file."""

from __future__ import annotations

import math
from collections import Counter
from pathlib import Path

from benchvise.core.checkpoint.encodings.latin import LatinText
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header, listed, reject_pointer
from benchvise.core.checkpoint.pickled.rebuild import SPECIAL_TENSORS
from benchvise.core.checkpoint.pickled.stand_ins import ArrayRef, Global, TensorRef
from benchvise.core.checkpoint.problems import checkpoint_error
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.state_dict import SelectedWeights, select_weights
from benchvise.core.checkpoint.torch_archive import Archive, read_archive
from benchvise.core.errors import CheckpointError

_SAVE_AGAIN = "If you trust where it comes from, load it in Python and save its `state_dict()` as safetensors."
NUMPY_DTYPES = {
    "f8": "float64", "f4": "float32", "f2": "float16", "i8": "int64", "i4": "int32", "i2": "int16", "i1": "int8",
    "u8": "uint64", "u4": "uint32", "u2": "uint16", "u1": "uint8", "b1": "bool", "c8": "complex64", "c16": "complex128",
    "?": "bool",
}  # fmt: skip
"""What numpy calls a dtype, without its byte order, and what torch calls it."""


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
    selection = select_weights(archive.root)
    counts = Counter(name for name, _ in selection.tensors)
    problems = [f"The name '{name}' stands {count} times in the file" for name, count in counts.items() if count > 1]
    entries = []
    for name, tensor in selection.tensors:
        entry = _placed(name, tensor, archive, str(path), size)
        if isinstance(entry, TensorEntry):
            entries.append(entry)
        elif entry:
            problems.append(entry)
        else:
            selection.others.append(name)
    if problems:
        raise checkpoint_error(problems, where=str(path), remedy="The file is damaged; download or save it again.")
    if not entries:
        _refuse_without_tensors(archive, path)
    return Header(tuple(entries), _warnings(path, selection, archive.unknown), kind=archive.kind,
                  left_out=(*selection.left_out, *selection.others))  # fmt: skip


def _placed(name: str, tensor: TensorRef | ArrayRef, archive: Archive, file: str, size: int) -> TensorEntry | str:
    """The record of one tensor; a sentence that says what is wrong with it, or "" where it cannot be shown."""
    if isinstance(tensor, ArrayRef):
        return _array_entry(name, tensor, file)
    place = archive.storages.get(tensor.storage.key)
    if place is None:
        return ""
    offset, nbytes = place
    return _fault(name, tensor, min(nbytes, size - offset)) or _entry(name, tensor, file, offset)


def _fault(name: str, tensor: TensorRef, storage_bytes: int) -> str:
    """What is wrong with a tensor on a storage of so many bytes, or ""."""
    bits = DTYPE_BITS.get(tensor.dtype)
    if bits is None:
        return f"'{name}' has the unknown dtype {tensor.dtype}"
    sizes = [*tensor.shape, *tensor.strides, tensor.offset]
    if any(type(size) is not int or size < 0 for size in sizes) or len(tensor.shape) != len(tensor.strides):
        return f"'{name}' has a shape and strides which do not describe a tensor"
    elements = math.prod(size or 1 for size in tensor.shape)
    if len(tensor.shape) > MAX_RANK or max(sizes) > MAX_ELEMENTS or elements > MAX_ELEMENTS:
        return f"'{name}' has the shape {tensor.shape[:MAX_RANK]}, which is larger than any memory"
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


def _array_entry(name: str, array: ArrayRef, file: str) -> TensorEntry | str:
    """The record of an array of numpy within the pickle itself."""
    dtype = NUMPY_DTYPES.get(array.dtype.code) if array.dtype is not None else None
    sizes = [size for size in array.shape if type(size) is int and 0 <= size <= MAX_ELEMENTS]
    if dtype is None or array.dtype is None or array.dtype.order == ">" or array.span is None:
        return ""
    if len(sizes) != len(array.shape) or len(sizes) > MAX_RANK:
        return f"'{name}' has a shape which does not describe an array"
    shape = tuple(sizes)
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    if nbytes > array.span.nbytes or (not array.span.text and nbytes != array.span.nbytes):
        return f"'{name}' needs {nbytes:,} bytes, but {array.span.nbytes:,} are there"
    strides = tuple(math.prod(shape[:axis]) for axis in range(len(shape))) if array.fortran and len(shape) > 1 else None
    if not array.span.text:
        return TensorEntry(name, dtype, shape, file, array.span.offset, nbytes, strides)
    if strides is not None or not nbytes:
        return ""
    encoding = LatinText(width=math.prod(shape), text_bytes=array.span.nbytes)
    return TensorEntry(name, dtype, shape, file, array.span.offset, nbytes, encoding=encoding)


def _first(tensor: TensorRef) -> int:
    return tensor.storage.start + tensor.offset


def _is_row_major(tensor: TensorRef) -> bool:
    expected = 1
    for size, stride in zip(reversed(tensor.shape), reversed(tensor.strides), strict=True):
        if size > 1 and stride != expected:
            return 0 in tensor.shape
        expected *= size
    return True


def _refuse_without_tensors(archive: Archive, path: Path) -> None:
    """Raises CheckpointError where no tensor can be reached and the file is not simply empty."""
    for name in archive.unknown:
        if name.module == "torch._utils" and name.name.startswith(SPECIAL_TENSORS):
            raise CheckpointError(
                f"The file holds a sparse, quantised or otherwise special tensor ({name.name})",
                where=str(path),
                remedy="Load it in Python, turn it into a dense tensor, and save it again.",
            )
    if archive.unknown:
        raise CheckpointError(
            f"This file wants to run code: {archive.unknown[0].path}; it was not opened",
            where=str(path),
            remedy=_SAVE_AGAIN,
        )
    if archive.kind == "pickle":
        raise CheckpointError(
            "The file is a pickle, but was not written by torch.save, and no tensor is in it",
            where=str(path),
            remedy="Load it in Python if you trust it, and save its tensors as safetensors.",
        )


def _warnings(path: Path, selection: SelectedWeights, unknown: tuple[Global, ...]) -> tuple[str, ...]:
    warnings = []
    if selection.left_out:
        warnings.append(f"Beside the weights, {path.name} holds {listed(selection.left_out)}; they are left out.")
    if selection.others:
        count = len(selection.others)
        found = "values" if count > 1 else "value"
        rest = "are not tensors" if count > 1 else "is not a tensor"
        warnings.append(f"{count} {found} in {path.name} {rest}: {listed(selection.others)}; left out.")
    if unknown:
        names = listed([name.path for name in unknown])
        warnings.append(f"{path.name} names code that was not run: {names}; its objects are read as plain records.")
    return tuple(warnings)
