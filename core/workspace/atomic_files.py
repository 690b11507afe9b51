"""Where a workspace lies, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import platformdirs
import psutil

from benchvise.core.workspace.disk import cannot_write, make_folders, sync_file, sync_folder

ENVIRONMENT = "BENCHVISE_WORKSPACE"
_PARTIAL = ".partial"
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

    A crash or a power cut leaves the old file or the new one. Raises OutputError for every OSError within the block but
    lack of memory; nothing is left behind then. What processes that were killed left in the folder is removed first.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}{_PARTIAL}")
    try:
        make_folders(path.parent)
        _remove_stale(path.parent)
        temporary.unlink(missing_ok=True)
        yield temporary
        sync_file(temporary)
        temporary.replace(path)
        sync_folder(path.parent)
    except BaseException as error:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise cannot_write(path, error) from error
        raise


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash or a power cut leaves the old one or the new one. Raises OutputError."""
    with whole_file(path) as temporary:
        temporary.write_text(text, encoding="utf-8", newline="")


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
