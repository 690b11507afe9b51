"""One process at a time works on a run: a lock in the run's folder, which the system frees when its holder dies."""

from __future__ import annotations

import errno
import os
import sys
from contextlib import suppress
from pathlib import Path

from benchvise.core.errors import UserError
from benchvise.core.workspace.atomic_files import writer_lives
from benchvise.core.workspace.disk import cannot_write

NAME = "lock"
_UNSUPPORTED = (errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP)
_DIGITS = 20


class RunBusyError(UserError):
    """Another process, or another job of this one, works on the run."""


class RunLock:
    """The lock of the run in `folder`, held from construction until `release` or the end of the process.

    Raises RunBusyError naming the holder, and OutputError when the folder cannot be written to.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / NAME
        try:
            self._descriptor = self._acquired()
        except OSError as error:
            raise cannot_write(self._path, error) from error

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if os.name == "nt":  # open files cannot be removed there
            os.close(self._descriptor)
        with suppress(OSError):
            self._path.unlink()
        if os.name != "nt":
            os.close(self._descriptor)

    def _acquired(self) -> int:
        while True:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT, 0o644)
            try:
                if not self._locked(descriptor):
                    raise self._busy(descriptor)
                if self._is_current(descriptor):
                    os.ftruncate(descriptor, 0)
                    os.lseek(descriptor, 0, os.SEEK_SET)
                    os.write(descriptor, str(os.getpid()).encode())
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)

    def _locked(self, descriptor: int) -> bool:
        try:
            return _try_lock(descriptor)
        except OSError as error:
            if error.errno not in _UNSUPPORTED:
                raise
        # Such a file system leaves only the process that the file names to go by.
        holder = _holder(descriptor)
        return holder in ("", str(os.getpid())) or not writer_lives(self._path, int(holder))

    def _is_current(self, descriptor: int) -> bool:
        """False when an earlier holder removed the file between its opening and its locking here."""
        try:
            return os.path.samestat(os.fstat(descriptor), self._path.stat())
        except FileNotFoundError:
            return False

    def _busy(self, descriptor: int) -> RunBusyError:
        holder = _holder(descriptor)
        who = "another job of this program" if holder == str(os.getpid()) else "another process"
        number = f" (process {holder})" if holder else ""
        return RunBusyError(
            f"The run is being carried out by {who}{number}",
            where=str(self._path.parent),
            remedy="Wait until it has finished, or stop it; then resume.",
        )


def _holder(descriptor: int) -> str:
    """The number of the process that the file names; "" when it names none."""
    os.lseek(descriptor, 0, os.SEEK_SET)
    found = os.read(descriptor, _DIGITS).decode(errors="replace")
    return found if found.isdecimal() else ""


if sys.platform == "win32":
    import msvcrt

    _FAR = 1 << 30

    def _try_lock(descriptor: int) -> bool:
        os.lseek(descriptor, _FAR, os.SEEK_SET)  # a locked byte cannot be read there, so it lies behind the number
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except OSError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True
