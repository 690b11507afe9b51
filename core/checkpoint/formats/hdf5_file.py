"""The arrays of HDF5 files: `.h5` and `.weights.h5` of Keras, and any other.

Source: https://docs.h5py.org, "Datasets" and "Low-level API".
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

from benchvise.core.checkpoint.encodings.hdf5_data import Hdf5Data
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.torch_file import NUMPY_DTYPES
from benchvise.core.errors import CheckpointError

_MAX_PLACES = 200_000
_MAX_CHUNK_BYTES = 256 << 20


def read_hdf5_header(path: Path) -> Header:
    """Where the arrays in the file at `path` lie; values are not read, and links to other files are not followed.

    Raises CheckpointError when the package that reads HDF5 is missing, or the file is damaged.
    """
    try:
        import h5py
    except ImportError as error:
        raise CheckpointError(
            "HDF5 files, as Keras writes, are read by the package 'h5py', which is not installed",
            where=str(path),
            remedy='Install it with `pip install "benchvise[hdf5]"` or `pip install h5py`.',
        ) from error
    entries: list[TensorEntry] = []
    left_out: list[str] = []
    try:
        with h5py.File(path, "r") as file:
            _walk(file, path, entries, left_out)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"The HDF5 file is damaged: {error}", where=str(path), remedy="Download or save it again."
        ) from error
    return Header(tuple(entries), kind="hdf5", left_out=tuple(left_out))


def _walk(file: Any, path: Path, entries: list[TensorEntry], left_out: list[str]) -> None:
    import h5py

    groups, seen, places = [("", file)], set(), 0
    while groups:
        prefix, group = groups.pop()
        for key in group:
            places += 1
            if places > _MAX_PLACES:
                raise CheckpointError(f"The file holds more than {_MAX_PLACES:,} arrays", where=str(path))
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                left_out.append(name)
                continue
            found = group[key]
            if isinstance(found, h5py.Group):
                if found.id not in seen:  # a group may be linked into itself
                    seen.add(found.id)
                    groups.append((f"{name}/", found))
                continue
            entry = _entry(name, found, path)
            if entry is None:
                left_out.append(name)
            else:
                entries.append(entry)


def _entry(name: str, found: Any, path: Path) -> TensorEntry | None:
    """The record of one array; None where it holds no numbers. Raises CheckpointError where its header lies."""
    code = getattr(getattr(found, "dtype", None), "str", "")
    dtype = NUMPY_DTYPES.get(code[1:]) if code[:1] in ("<", "|") else None
    if dtype is None or found.shape is None or found.external:
        return None
    shape, size = tuple(int(extent) for extent in found.shape), path.stat().st_size
    if len(shape) > MAX_RANK or math.prod(extent or 1 for extent in shape) > MAX_ELEMENTS:
        raise CheckpointError(f"'{name}' is larger than any memory", where=str(path))
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    offset = found.id.get_offset()
    if offset is not None:
        if offset + nbytes > size:
            raise CheckpointError(
                f"'{name}' needs {nbytes:,} bytes, which the file does not have",
                where=str(path),
                remedy="Download or save it again.",
            )
        return TensorEntry(name, dtype, shape, str(path), offset, nbytes)
    chunk = math.prod(found.chunks or ()) * DTYPE_BITS[dtype] // 8
    stored = found.id.get_storage_size()
    if chunk > _MAX_CHUNK_BYTES or stored > size or nbytes > 2000 * max(1, stored):
        raise CheckpointError(f"'{name}' is unpacked to more than the file can hold", where=str(path))
    width = max(1, math.prod(shape[1:]))
    return TensorEntry(name, dtype, shape, str(path), 0, nbytes, encoding=Hdf5Data(found.name, width))
