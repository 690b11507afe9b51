"""Where the storages of a torch file lie: in the zip archive of today, or in the stream of before torch 1.6.

Source: torch/serialization.py, `_save` and `_legacy_save`.
"""

from __future__ import annotations

import io
import struct
import zipfile
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from benchvise.core.checkpoint.records import DTYPE_BITS
from benchvise.core.checkpoint.torch_pickle import StorageRef, TensorUnpickler
from benchvise.core.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_LEGACY_PROTOCOL = 1001
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_CUT = "The file is incomplete or damaged; download or save it again."
_ZIP_FAULTS = (zipfile.BadZipFile, ValueError, RuntimeError, OverflowError, struct.error, EOFError, zlib.error)


@dataclass(frozen=True, slots=True)
class Archive:
    """What was saved, tensors as TensorRef, and for each storage key its offset in the file and its bytes."""

    root: object
    storages: dict[str, tuple[int, int]]


def read_archive(path: Path) -> Archive:
    """Reads the structure of the torch file at `path`, not its data. Raises CheckpointError."""
    with path.open("rb") as file:
        start = file.read(4)
        file.seek(0)
        return _read_zip(file, str(path)) if start == ZIP_MAGIC else _read_legacy(file, str(path))


def _read_zip(file: BinaryIO, where: str) -> Archive:
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            prefix = _prefix([member.filename for member in members], where)
            by_name = {member.filename: member for member in members}
            description = _read_stored(archive, by_name[prefix + "data.pkl"], where)
            order = by_name.get(prefix + "byteorder")
            little = order is None or _read_stored(archive, order, where) == b"little"
    except _ZIP_FAULTS as error:
        raise CheckpointError(f"The zip archive is damaged: {error}", where=where, remedy=_CUT) from error
    _require_little_endian(little, where)
    unpickler = TensorUnpickler(io.BytesIO(description), where)
    root = unpickler.read()
    storages = {}
    for key in unpickler.storages:
        member = by_name.get(f"{prefix}data/{key}")
        if member is None:
            raise CheckpointError(f"The archive lacks the data of storage '{key}'", where=where, remedy=_CUT)
        _require_stored(member, where)
        storages[key] = (_data_offset(file, member, where), member.file_size)
    return Archive(root, storages)


def _prefix(names: list[str], where: str) -> str:
    """The folder within the archive that everything lies in, with its slash. Raises CheckpointError if it is none."""
    if len(set(names)) < len(names):
        raise CheckpointError("The archive holds two members of the same name", where=where, remedy=_CUT)
    if any(name.endswith("constants.pkl") or "/code/" in name for name in names):
        raise CheckpointError(
            "This is a TorchScript program, not a file of weights",
            where=where,
            remedy="Load it with `torch.jit.load` and save its `state_dict()`.",
        )
    found = [name for name in names if name == "data.pkl" or name.endswith("/data.pkl")]
    if len(found) != 1:
        raise CheckpointError(
            "This zip archive was not written by torch.save",
            where=where,
            remedy="If it is an archive of a checkpoint, unpack it and open what is inside.",
        )
    return found[0].removesuffix("data.pkl")


def _read_stored(archive: zipfile.ZipFile, member: zipfile.ZipInfo, where: str) -> bytes:
    """The content of a member that is not compressed: it cannot be larger than the file."""
    _require_stored(member, where)
    return archive.read(member)


def _require_stored(member: zipfile.ZipInfo, where: str) -> None:
    if member.compress_type != zipfile.ZIP_STORED:
        raise CheckpointError(
            f"'{member.filename}' is compressed within the archive; torch stores plainly",
            where=where,
            remedy="Load the file in Python and save it again with `torch.save` or as safetensors.",
        )


def _data_offset(file: BinaryIO, member: zipfile.ZipInfo, where: str) -> int:
    file.seek(member.header_offset)
    header = file.read(_LOCAL_HEADER.size)
    if len(header) < _LOCAL_HEADER.size or not header.startswith(ZIP_MAGIC):
        raise CheckpointError(f"'{member.filename}' is not where the archive says", where=where, remedy=_CUT)
    _, name_bytes, extra_bytes = _LOCAL_HEADER.unpack(header)
    return int(member.header_offset + _LOCAL_HEADER.size + name_bytes + extra_bytes)


def _read_legacy(file: BinaryIO, where: str) -> Archive:
    magic, protocol = TensorUnpickler(file, where).read(), None
    if magic == _LEGACY_MAGIC:
        protocol = TensorUnpickler(file, where).read()
    if protocol != _LEGACY_PROTOCOL:
        raise CheckpointError(
            "The file is a pickle, but was not written by torch.save",
            where=where,
            remedy="Load it in Python if you trust it, and save its tensors as safetensors.",
        )
    system = TensorUnpickler(file, where).read()
    _require_little_endian(isinstance(system, dict) and system.get("little_endian") is True, where)
    unpickler = TensorUnpickler(file, where)
    root = unpickler.read()
    keys = TensorUnpickler(file, where).read()
    if not isinstance(keys, list) or not set(unpickler.storages) <= set(map(str, keys)):
        raise CheckpointError("The file does not list its storages", where=where, remedy=_CUT)
    return Archive(root, _storages_in_stream(file, [str(key) for key in keys], unpickler.storages, where))


def _storages_in_stream(
    file: BinaryIO, keys: list[str], described: dict[str, StorageRef], where: str
) -> dict[str, tuple[int, int]]:
    """Offsets of storages that follow each other, each after its number of elements in 8 bytes."""
    storages = {}
    for key in keys:
        count = file.read(8)
        if len(count) < 8 or key not in described:
            raise CheckpointError(f"The file ends before the data of storage '{key}'", where=where, remedy=_CUT)
        nbytes = int.from_bytes(count, "little") * DTYPE_BITS[described[key].dtype] // 8
        storages[key] = (file.tell(), nbytes)
        if nbytes >= 2**62:
            raise CheckpointError(f"Storage '{key}' claims to have {nbytes:,} bytes", where=where, remedy=_CUT)
        file.seek(nbytes, io.SEEK_CUR)
    return storages


def _require_little_endian(little: bool, where: str) -> None:
    if not little:
        raise CheckpointError(
            "The file was written on a big-endian machine",
            where=where,
            remedy="Load it with torch and save it again on a little-endian machine.",
        )
