"""The members of a zip archive and where their bytes lie, checked against the file before anything is believed.

Read here rather than by `zipfile`, which makes a large object of each member, reads what a lying directory asks for,
and does not notice members that overlap.

Source: PKWARE's APPNOTE.TXT, 4.3 and 4.5.3.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from typing import IO

from benchvise.core.errors import CheckpointError

ZIP_MAGIC = b"PK\x03\x04"
STORED, DEFLATED = 0, 8
CUT = "The file is incomplete or damaged; download or save it again."

MAX_MEMBERS = 500_000

_END = struct.Struct("<4s4H2LH")
_END64_LOCATOR = struct.Struct("<4sLQL")
_END64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_ENCRYPTED = 1


@dataclass(frozen=True, slots=True)
class Member:
    """One file of an archive: `packed` bytes at `offset` of the archive, which are `size` bytes once unpacked."""

    name: str
    method: int
    offset: int
    packed: int
    size: int


def read_directory(file: IO[bytes], where: str) -> dict[str, Member]:
    """The members of a zip archive by name. Raises CheckpointError when it is damaged, or lies."""
    size = file.seek(0, 2)
    start, length, count = _end_of_directory(file, size, where)
    if count > MAX_MEMBERS:
        raise _damaged(f"it lists {count:,} members", where)
    file.seek(start)
    listed = _listed(file.read(length), count, where)
    members: dict[str, Member] = {}
    end = 0
    for name, method, header, packed, unpacked in sorted(listed, key=lambda item: item[2]):
        if header < end:
            raise _damaged(f"the member '{name}' overlaps another", where)
        offset = _data_offset(file, name, header, where)
        end = offset + packed
        if end > start:
            raise _damaged(f"the member '{name}' is longer than the file", where)
        if name in members:
            raise CheckpointError(f"The archive holds two members of the same name, '{name}'", where=where, remedy=CUT)
        members[name] = Member(name, method, offset, packed, unpacked)
    return members


def read_member(file: IO[bytes], member: Member, limit: int, where: str) -> bytes:
    """The first `limit` bytes of a member, unpacked. Raises CheckpointError when they cannot be."""
    file.seek(member.offset)
    if member.method == STORED:
        return file.read(min(limit, member.packed))
    if member.method != DEFLATED:
        raise _damaged(f"'{member.name}' is packed by the method {member.method}", where)
    unpacker = zlib.decompressobj(-zlib.MAX_WBITS)
    unpacked, left = b"", member.packed
    try:
        while left and len(unpacked) < limit and not unpacker.eof:
            piece = file.read(min(left, 1 << 16))
            left -= len(piece)
            unpacked += unpacker.decompress(unpacker.unconsumed_tail + piece, limit - len(unpacked))
            if not piece:
                break
    except zlib.error as error:
        raise _damaged(f"'{member.name}' cannot be unpacked ({error})", where) from error
    return unpacked


def _end_of_directory(file: IO[bytes], size: int, where: str) -> tuple[int, int, int]:
    """Offset, bytes and entries of the central directory."""
    tail_start = max(0, size - _END.size - 0xFFFF)
    file.seek(tail_start)
    tail = file.read(size - tail_start)
    at = tail.rfind(b"PK\x05\x06")
    if at < 0 or len(tail) - at < _END.size:
        raise _damaged("its directory is missing", where)
    _, _, _, _, count, length, start, _ = _END.unpack_from(tail, at)
    end = tail_start + at
    if at >= _END64_LOCATOR.size and tail[at - _END64_LOCATOR.size :].startswith(b"PK\x06\x07"):
        _, _, place, _ = _END64_LOCATOR.unpack_from(tail, at - _END64_LOCATOR.size)
        if place > size - _END64.size:
            raise _damaged("its directory is missing", where)
        file.seek(place)
        found = _END64.unpack(file.read(_END64.size))
        if found[0] != b"PK\x06\x06":
            raise _damaged("its directory is missing", where)
        count, length, start, end = found[7], found[8], found[9], place
    if start + length > end:
        raise _damaged("its directory is longer than the file", where)
    return start, length, count


def _listed(directory: bytes, count: int, where: str) -> list[tuple[str, int, int, int, int]]:
    """Name, method, offset of the local header, packed and unpacked bytes of each member."""
    listed, at = [], 0
    for _ in range(count):
        if len(directory) - at < _CENTRAL.size or directory[at : at + 4] != b"PK\x01\x02":
            raise _damaged("its directory is cut off", where)
        fields = _CENTRAL.unpack_from(directory, at)
        flags, method, packed, unpacked = fields[3], fields[4], fields[8], fields[9]
        names, extras, comments, header = fields[10], fields[11], fields[12], fields[16]
        at += _CENTRAL.size
        name = directory[at : at + names].decode("utf-8" if flags & 0x800 else "cp437", "replace")
        extra = directory[at + names : at + names + extras]
        at += names + extras + comments
        if flags & _ENCRYPTED:
            raise _damaged(f"'{name}' is encrypted", where)
        unpacked, packed, header = _with_zip64(extra, unpacked, packed, header)
        if method == STORED and packed != unpacked:
            raise _damaged(f"'{name}' has two different sizes", where)
        listed.append((name, method, header, packed, unpacked))
    return listed


def _with_zip64(extra: bytes, *sizes: int) -> tuple[int, ...]:
    """The sizes, those that do not fit into 32 bits taken from the extra field."""
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<HH", extra, at)
        if kind == 1:
            values = iter(struct.iter_unpack("<Q", extra[at + 4 : at + 4 + length // 8 * 8]))
            return tuple(next(values, (size,))[0] if size == 0xFFFFFFFF else size for size in sizes)
        at += 4 + length
    return sizes


def _data_offset(file: IO[bytes], name: str, header: int, where: str) -> int:
    file.seek(header)
    local = file.read(_LOCAL.size)
    if len(local) < _LOCAL.size or not local.startswith(ZIP_MAGIC):
        raise CheckpointError(f"'{name}' is not where the archive says", where=where, remedy=CUT)
    *_, names, extras = _LOCAL.unpack(local)
    return header + _LOCAL.size + int(names) + int(extras)


def _damaged(what: str, where: str) -> CheckpointError:
    return CheckpointError(f"The zip archive is damaged: {what}", where=where, remedy=CUT)
