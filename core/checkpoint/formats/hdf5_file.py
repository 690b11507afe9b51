"""The arrays of HDF5 files: `.h5` and `.weights.h5` of Keras, and any other.

Source: https://docs.h5py.org, "Datasets" and "Low-level API".
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchvise.core.checkpoint.encodings.file_part import FilePart
from benchvise.core.checkpoint.encodings.hdf5_data import Hdf5Data
from benchvise.core.checkpoint.header import MAX_ELEMENTS, MAX_RANK, Header
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.checkpoint.torch_file import NUMPY_DTYPES
from benchvise.core.checkpoint.training_state import is_training_state
from benchvise.core.checkpoint.zip_directory import STORED, read_directory
from benchvise.core.errors import CheckpointError

_MAX_PLACES = 200_000
_MAX_CHUNK_BYTES = 256 << 20


@dataclass(frozen=True, slots=True)
class _Place:
    """Where an HDF5 file lies: `size` bytes at `start` of the file at `path`; whole, or the member of an archive."""

    path: str
    start: int
    size: int
    whole: bool = False


def read_hdf5_header(path: Path) -> Header:
    """Where the arrays in the file at `path` lie; values are not read, and links to other files are not followed.

    Raises CheckpointError when the package that reads HDF5 is missing, or the file is damaged.
    """
    try:
        return _read(_Place(str(path), 0, path.stat().st_size, whole=True), "hdf5")
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error


def read_keras_header(path: Path) -> Header:
    """Where the arrays of a `.keras` archive lie, in the HDF5 file within. Raises CheckpointError as that file does."""
    try:
        with path.open("rb") as file:
            members = read_directory(file, str(path))
    except OSError as error:
        raise CheckpointError(f"The file cannot be read: {error.strerror}", where=str(path)) from error
    found = next(member for name, member in members.items() if name.endswith(".weights.h5"))
    if found.method != STORED:
        raise CheckpointError(
            f"'{found.name}' is compressed within the archive",
            where=str(path),
            remedy=f"Unpack the archive, and open the `{found.name}` inside.",
        )
    return _read(_Place(str(path), found.offset, found.size), "keras")


def _read(place: _Place, kind: str) -> Header:
    try:
        import h5py
    except ImportError as error:
        raise CheckpointError(
            "HDF5 files, as Keras writes, are read by the package 'h5py', which is not installed",
            where=place.path,
            remedy='Install it with `pip install "benchvise[hdf5]"` or `pip install h5py`.',
        ) from error
    entries: list[TensorEntry] = []
    left_out: list[str] = []
    try:
        with FilePart(place.path, place.start, place.size) as part, h5py.File(part, "r") as file:
            _walk(file, place, entries, left_out)
    except (OSError, KeyError, ValueError, RuntimeError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"The HDF5 file is damaged: {error}", where=place.path, remedy="Download or save it again."
        ) from error
    return Header(tuple(entries), kind=kind, left_out=tuple(left_out))


def _walk(file: Any, place: _Place, entries: list[TensorEntry], left_out: list[str]) -> None:
    import h5py

    groups, seen, places = [("", file)], set(), 0
    while groups:
        prefix, group = groups.pop()
        for key in group:
            places += 1
            if places > _MAX_PLACES:
                raise CheckpointError(f"The file holds more than {_MAX_PLACES:,} arrays", where=place.path)
            name = f"{prefix}{key}"
            if not isinstance(group.get(key, getlink=True), h5py.HardLink):
                left_out.append(name)
                continue
            found = group[key]
            if isinstance(found, h5py.Group):
                if not prefix and is_training_state(key, ()):
                    left_out.append(key)
                elif found.id not in seen:  # a group may be linked into itself
                    seen.add(found.id)
                    groups.append((f"{name}/", found))
                continue
            entry = _entry(name, found, place)
            if entry is None:
                left_out.append(name)
            else:
                entries.append(entry)


def _entry(name: str, found: Any, place: _Place) -> TensorEntry | None:
    """The record of one array; None where it holds no numbers. Raises CheckpointError where its header lies."""
    code = getattr(getattr(found, "dtype", None), "str", "")
    dtype = NUMPY_DTYPES.get(code[1:]) if code[:1] in ("<", "|") else None
    if dtype is None or found.shape is None or found.external:
        return None
    shape, size = tuple(int(extent) for extent in found.shape), place.size
    if len(shape) > MAX_RANK or math.prod(extent or 1 for extent in shape) > MAX_ELEMENTS:
        raise CheckpointError(f"'{name}' is larger than any memory", where=place.path)
    nbytes = math.prod(shape) * DTYPE_BITS[dtype] // 8
    offset = found.id.get_offset()
    if offset is not None:
        if offset + nbytes > size:
            raise CheckpointError(
                f"'{name}' needs {nbytes:,} bytes, which the file does not have",
                where=place.path,
                remedy="Download or save it again.",
            )
        return TensorEntry(name, dtype, shape, place.path, place.start + offset, nbytes)
    chunk = math.prod(found.chunks or ()) * DTYPE_BITS[dtype] // 8
    stored = found.id.get_storage_size()
    if chunk > _MAX_CHUNK_BYTES or stored > size or nbytes > 2000 * max(1, stored):
        raise CheckpointError(f"'{name}' is unpacked to more than the file can hold", where=place.path)
    width = max(1, math.prod(shape[1:]))
    import h5py

    header = int(h5py.h5o.get_info(found.id).addr)  # tells one array from another, as an offset does
    part = (0, 0) if place.whole else (place.start, place.size)
    return TensorEntry(
        name, dtype, shape, place.path, place.start + header, nbytes, encoding=Hdf5Data(found.name, width, *part)
    )
