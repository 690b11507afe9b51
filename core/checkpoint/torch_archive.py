"""Where the storages of a torch file lie: in the zip archive of today, or in the stream of before torch 1.6.

Source: torch/serialization.py, `_save` and `_legacy_save`.
"""

from __future__ import annotations

import io
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from benchvise.core.checkpoint.pickled.reader import PickleReader
from benchvise.core.checkpoint.pickled.stand_ins import Global, Inert, Span, StorageRef
from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.checkpoint.zip_directory import CUT, STORED, ZIP_MAGIC, Member, read_directory, read_member
from benchvise.core.errors import CheckpointError

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_MAX_NESTED = 100_000


@dataclass(frozen=True, slots=True)
class Archive:
    """What was saved, tensors as TensorRef, and for each storage key its offset in the file and its bytes.

    kind:    "torch", "torchscript", or "pickle" for one that torch.save did not write.
    unknown: the globals that the pickle names and that are neither torch's nor numpy's, in order.
    """

    root: object
    storages: Mapping[str, tuple[int, int]]
    kind: str = "torch"
    unknown: tuple[Global, ...] = ()


def read_archive(path: Path) -> Archive:
    """Reads the structure of the torch file at `path`, not its data. Raises CheckpointError."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        return _read_zip(file, str(path)) if start == ZIP_MAGIC else _read_stream(file, str(path))


def _read_zip(file: IO[bytes], where: str) -> Archive:
    members = read_directory(file, where)
    prefix = _prefix(members, where)
    order = members.get(prefix + "byteorder")
    _require_little_endian(order is None or read_member(file, order, 16, where).strip() == b"little", where)
    description = _require_stored(members[prefix + "data.pkl"], where)
    file.seek(description.offset)
    reader = PickleReader(file, where, description.offset + description.size)
    root = reader.read_object()
    storages = {}
    for key in reader.storages:
        member = members.get(f"{prefix}data/{key}")
        if member is None:
            raise CheckpointError(f"The archive lacks the data of storage '{key}'", where=where, remedy=CUT)
        _require_stored(member, where)
        storages[key] = (member.offset, member.size)
    program = any(name.startswith((prefix + "code/", prefix + "constants.pkl")) for name in members)
    return Archive(root, storages, "torchscript" if program else "torch", tuple(reader.unknown))


def _prefix(members: Mapping[str, Member], where: str) -> str:
    """The folder within the archive that everything lies in, with its slash. Raises CheckpointError if it is none."""
    found = [name for name in members if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise CheckpointError(
            "This zip archive was not written by torch.save",
            where=where,
            remedy="If it is an archive of a checkpoint, unpack it and open what is inside.",
        )
    return found[0].removesuffix("data.pkl")


def _require_stored(member: Member, where: str) -> Member:
    if member.method != STORED:
        raise CheckpointError(
            f"'{member.name}' is compressed within the archive; torch stores plainly",
            where=where,
            remedy="Load the file in Python and save it again with `torch.save` or as safetensors.",
        )
    return member


def _read_stream(file: IO[bytes], where: str) -> Archive:
    """A stream as torch wrote it before 1.6, or a pickle of anything else."""
    end = os.fstat(file.fileno()).st_size
    places: dict[str, tuple[int, int]] = {}
    reader = PickleReader(file, where, end)
    nested = 0

    def load_storage(span: Span) -> object:
        nonlocal nested
        nested += 1
        if nested > _MAX_NESTED:
            return Inert(Global("torch.storage", "_load_from_bytes"))
        file.seek(span.offset)
        inner = _read_legacy(file, span.offset + span.nbytes, where, None)
        if not isinstance(inner.root, StorageRef):
            return Inert(Global("torch.storage", "_load_from_bytes"))
        key = f"{span.offset}/{inner.root.key}"
        places[key] = inner.storages[inner.root.key]
        file.seek(reader.position)
        return inner.root._replace(key=key)

    reader.load_storage = load_storage
    first = reader.read_object()
    if first == _LEGACY_MAGIC:
        file.seek(reader.position)
        return _read_legacy(file, end, where, first)
    return Archive(first, places, "pickle", tuple(reader.unknown))


def _read_legacy(file: IO[bytes], end: int, where: str, magic: object) -> Archive:
    """magic: the stream's first object when it was read already."""

    def read() -> PickleReader:
        reader = PickleReader(file, where, end)
        reader.result = reader.read_object()
        file.seek(reader.position)
        return reader

    if (read().result if magic is None else magic) != _LEGACY_MAGIC or read().result != _LEGACY_PROTOCOL:
        raise CheckpointError(
            "The file is a pickle, but was not written by torch.save",
            where=where,
            remedy="Load it in Python if you trust it, and save its tensors as safetensors.",
        )
    system = read().result
    _require_little_endian(isinstance(system, dict) and system.get("little_endian") is True, where)
    described = read()
    keys = read().result
    if not isinstance(keys, list) or not set(described.storages) <= set(map(str, keys)):
        raise CheckpointError("The file does not list its storages", where=where, remedy=CUT)
    storages = _storages_in_stream(file, [str(key) for key in keys], described.storages, where)
    return Archive(described.result, storages, "torch", tuple(described.unknown))


def _storages_in_stream(
    file: IO[bytes], keys: list[str], described: dict[str, StorageRef], where: str
) -> dict[str, tuple[int, int]]:
    """Offsets of storages that follow each other, each after its number of elements in 8 bytes."""
    storages = {}
    for key in keys:
        count = file.read(8)
        if len(count) < 8 or key not in described:
            raise CheckpointError(f"The file ends before the data of storage '{key}'", where=where, remedy=CUT)
        nbytes = int.from_bytes(count, "little") * DTYPE_BITS[described[key].dtype] // 8
        storages[key] = (file.tell(), nbytes)
        if nbytes >= 2**62:
            raise CheckpointError(f"Storage '{key}' claims to have {nbytes:,} bytes", where=where, remedy=CUT)
        file.seek(nbytes, io.SEEK_CUR)
    return storages


def _require_little_endian(little: bool, where: str) -> None:
    if not little:
        raise CheckpointError(
            "The file was written on a big-endian machine",
            where=where,
            remedy="Load it with torch and save it again on a little-endian machine.",
        )
