"""An output folder as a transaction: everything is written to a hidden sibling, which is renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchvise.core.errors import OutputError
from benchvise.core.workspace.atomic_files import writer_lives

_MARK = ".partial-"


def check_output(out: str | Path, inputs: Iterable[Path] = ()) -> Path:
    """The absolute path to write to, after looking whether it can be written to; nothing is created.

    inputs: files and folders that are read; neither they nor anything within them may be written to.
    Raises OutputError. An existing empty folder is fine.
    """
    if not str(out):
        raise OutputError("No output folder was given", remedy="Name a folder that does not exist yet.")
    path = Path(out).expanduser()
    resolved = path.resolve()
    for source in inputs:
        original = source.resolve()
        if resolved == original or original in resolved.parents:
            raise OutputError(
                f"The output would lie in the input '{original}'",
                where=str(out),
                remedy="Choose a folder outside of it; the input is never written to.",
            )
    try:
        if resolved.is_dir():
            if any(resolved.iterdir()):
                raise _exists("The output folder already exists and is not empty", out)
        elif os.path.lexists(path):
            raise _exists("A file of that name already exists", out)
        place = next(parent for parent in resolved.parents if os.path.lexists(parent))
        if not place.is_dir():
            raise OutputError(f"'{place}' is not a folder", where=str(out), remedy="Choose a place within a folder.")
    except OSError as error:
        raise _failed(error, str(out)) from error
    return resolved


def require_space(folder: Path, needed_bytes: int) -> None:
    """Raise OutputError when the disk of `folder` (which exists) has fewer than `needed_bytes` left."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"The disk has {free:,} bytes left, but the output needs {needed_bytes:,}",
            where=str(folder.parent),
            remedy="Free some space or choose a folder on another disk.",
        )


@contextmanager
def output_folder(out: Path) -> Iterator[Path]:
    """A new folder to write into, which becomes `out` (from `check_output`) when the block ends without an exception.

    Otherwise it is removed again, with the parents that had to be created. What a killed process left behind for the
    same `out` is removed first. Raises OutputError for every OSError within the block: disk full, no permission, …
    """
    created: list[Path] = []
    partial = out.parent / f".{out.name}{_MARK}{os.getpid()}"
    try:
        created = _create_parents(out.parent)
        _remove_stale(out)
        partial.mkdir()
    except OSError as error:
        _remove_empty(created)
        raise _failed(error, str(out)) from error
    try:
        yield partial
        _sync(partial)
        _move(partial, out)
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _remove_empty(created)
        if isinstance(error, OSError):
            raise _failed(error, str(out)) from error
        raise


def _move(partial: Path, out: Path) -> None:
    if out.is_dir():
        out.rmdir()  # fails when something was put there meanwhile
    elif os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))
    partial.rename(out)
    _sync(out.parent)


def _remove_stale(out: Path) -> None:
    prefix = f".{out.name}{_MARK}"
    for folder in out.parent.iterdir():
        number = folder.name.removeprefix(prefix)
        if folder.name.startswith(prefix) and number.isdecimal() and not writer_lives(folder, int(number)):
            shutil.rmtree(folder)


def _create_parents(parent: Path) -> list[Path]:
    """Create `parent`; returns the folders that were not there before, innermost first."""
    missing = [folder for folder in (parent, *parent.parents) if not os.path.lexists(folder)]
    parent.mkdir(parents=True, exist_ok=True)
    return missing


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not there, or someone else uses it by now
            return


def _sync(folder: Path) -> None:
    if os.name == "nt":  # folders cannot be opened there
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _exists(what: str, out: str | Path) -> OutputError:
    return OutputError(what, where=str(out), remedy="Choose another folder, or remove this one first.")


_REMEDIES = {
    errno.ENOSPC: ("The disk is full", "Free some space or choose a folder on another disk."),
    errno.EDQUOT: ("Your disk quota is used up", "Free some space or choose a folder on another disk."),
    errno.EFBIG: ("A file became larger than is allowed here", "Raise the limit or choose a folder on another disk."),
    errno.EACCES: ("The folder may not be written to", "Choose a folder that you may write to."),
    errno.EPERM: ("The folder may not be written to", "Choose a folder that you may write to."),
    errno.EROFS: ("The disk can only be read", "Choose a folder on another disk."),
    errno.ENOTDIR: ("A part of the path is a file, not a folder", "Choose another folder."),
    errno.ENAMETOOLONG: ("The path is too long", "Choose a shorter name."),
    errno.EEXIST: ("Something else was written there meanwhile", "Choose another folder."),
    errno.ENOTEMPTY: ("Something else was written there meanwhile", "Choose another folder."),
}


def _failed(error: OSError, where: str) -> OutputError:
    what, remedy = _REMEDIES.get(
        error.errno or 0,
        (f"The output cannot be written: {error.strerror or error}", "Choose another folder, or check the disk."),
    )
    return OutputError(f"{what}; nothing was left behind", where=where, remedy=remedy)
