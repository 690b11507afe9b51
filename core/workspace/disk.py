"""Folders and errors of the disk: folders that survive a power cut, and one sentence for each way in which it fails."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from benchvise.core.errors import OutputError

_OTHER_DISK = "Free some space, or choose a folder on another disk."

_CANNOT_SYNC = (errno.EACCES, errno.EINVAL, errno.EOPNOTSUPP)
"""Of folders that may be written to but not read, and of file systems that sync no folders."""

_SENTENCES = {
    errno.ENOSPC: ("The disk is full", _OTHER_DISK),
    errno.EDQUOT: ("The disk quota is used up", _OTHER_DISK),
    errno.EFBIG: ("A file became larger than the system allows", "Raise the limit, or choose another disk."),
    errno.EACCES: ("The folder cannot be written to", "Choose a folder that you may write to."),
    errno.EPERM: ("The folder cannot be written to", "Choose a folder that you may write to."),
    errno.EROFS: ("The disk is read-only", "Choose a folder on another disk."),
    errno.ENOTDIR: ("A file lies where a folder is needed", "Choose another folder."),
    errno.ENAMETOOLONG: ("The path is too long", "Choose a shorter name."),
    errno.EEXIST: ("Something else was written there meanwhile", "Choose another folder."),
    errno.ENOTEMPTY: ("Something else was written there meanwhile", "Choose another folder."),
}


def cannot_write(path: Path, error: OSError, outcome: str = "what was finished is kept") -> OutputError:
    """The error for a write that failed. outcome: what became of the rest of the work; "" to say nothing of it."""
    what, remedy = _SENTENCES.get(
        error.errno or 0,
        (f"Writing failed: {error.strerror or error}", "Choose another folder, or check the disk."),
    )
    return OutputError(f"{what}; {outcome}" if outcome else what, where=str(path), remedy=remedy)


def make_folders(folder: Path) -> list[Path]:
    """Create the folder with its parents, on the disk at once; returns those that were missing, innermost first.

    Raises OSError; NotADirectoryError when a file lies in the way.
    """
    missing = [each for each in (folder, *folder.parents) if not os.path.lexists(each)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except FileExistsError as error:
        raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), str(folder)) from error
    for each in missing:
        sync_folder(each.parent)
    return missing


def sync_folder(folder: Path) -> None:
    """Bring the names in the folder to the disk, so that a power cut undoes no renaming. Raises OSError."""
    if os.name == "nt":  # folders cannot be opened there
        return
    try:
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
    except OSError as error:
        if error.errno not in _CANNOT_SYNC:
            raise


def sync_tree(folder: Path) -> None:
    """Bring everything in the folder to the disk: the content of its files and the names. Raises OSError."""
    for path in folder.rglob("*"):
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)
    sync_folder(folder)


def sync_file(path: Path) -> None:
    """Bring the file's content to the disk. Raises OSError."""
    with path.open("rb+") as file:
        os.fsync(file.fileno())
