"""Where a workspace lies, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
import psutil

from benchvise.core.errors import OutputError

ENVIRONMENT = "BENCHVISE_WORKSPACE"
_PARTIAL = ".partial"
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS)
_NO_FOLDER = (errno.ENOTDIR, errno.EEXIST)
_CLOCK_DOUBT_SECONDS = 1.0


def workspace_path(path: str = "") -> Path:
    """The folder asked for, else $BENCHVISE_WORKSPACE, else the user's data folder."""
    chosen = path or os.environ.get(ENVIRONMENT, "")
    return (
        Path(chosen).expanduser().resolve()
        if chosen
        else Path(platformdirs.user_data_dir("benchvise", False)) / "workspace"
    )


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """A new file beside `path` to write to, which becomes `path` when the block ends without an exception.

    A crash leaves the old file or the new one. Raises OutputError for every OSError within the block; nothing is left
    behind then. What processes that were killed left in the folder is removed first.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _remove_stale(path.parent)
        temporary.unlink(missing_ok=True)
        yield temporary
        temporary.replace(path)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise cannot_write(path, error) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises OutputError."""
    with whole_file(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())


def _remove_stale(folder: Path) -> None:
    for leftover in folder.glob(f".*{_PARTIAL}"):
        pid = leftover.name.removesuffix(_PARTIAL).rpartition(".")[2]
        if not (pid.isdecimal() and writer_lives(leftover, int(pid))):
            leftover.unlink(missing_ok=True)


def writer_lives(file: Path, pid: int) -> bool:
    """Whether the process `pid` that made `file` still runs, and is not another one that got its number later."""
    try:
        return psutil.Process(pid).create_time() <= file.stat().st_mtime + _CLOCK_DOUBT_SECONDS
    except (psutil.NoSuchProcess, FileNotFoundError):
        return False
    except psutil.AccessDenied:
        return True


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The sentence for a write that failed."""
    if error.errno in _FULL:
        return OutputError(
            "The disk is full", where=str(path), remedy="Free space or choose another place; finished layers are kept."
        )
    if error.errno in _FORBIDDEN:
        return OutputError("The place cannot be written to", where=str(path), remedy="Choose a folder of your own.")
    if error.errno in _NO_FOLDER:
        return OutputError("A file lies where a folder is needed", where=str(path), remedy="Choose another folder.")
    return OutputError(f"Writing failed: {error.strerror or error}", where=str(path), remedy="Try another place.")
