"""An output as a transaction: a folder or file is written in a hidden sibling folder, and renamed at the end."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from benchvise.core.errors import OutputError
from benchvise.core.workspace.atomic_files import writer_lives
from benchvise.core.workspace.disk import cannot_write, make_folders, sync_folder, sync_tree

_MARK = ".partial-"


def check_output(out: str | Path, inputs: Iterable[Path] = (), *, suffix: str = "") -> Path:
    """The absolute path to write to, after looking whether it can be written to; nothing is created.

    inputs: files and folders that are read; neither they nor anything within them may be written to.
    suffix: that of a single file to write; "" for a folder, which may exist when it is empty.
    Raises OutputError when nothing can be written there.
    """
    if not str(out):
        what, example = ("file", f", for example model{suffix}") if suffix else ("folder", "")
        raise OutputError(f"No output {what} was given", remedy=f"Name a {what} that does not exist yet{example}.")
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
        if suffix and (resolved.is_dir() or resolved.suffix.lower() != suffix):
            raise OutputError(
                "The target writes a single file",
                where=str(out),
                remedy=f"Name a file that ends in '{suffix}' and does not exist yet.",
            )
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
    """Raises OutputError when the disk of `folder` (which exists) has fewer than `needed_bytes` left."""
    free = shutil.disk_usage(folder).free
    if free < needed_bytes:
        raise OutputError(
            f"The disk has {free:,} bytes left, but the output needs {needed_bytes:,}",
            where=str(folder),
            remedy="Free some space or choose a folder on another disk.",
        )


@contextmanager
def output_place(out: Path, *, single_file: bool = False) -> Iterator[Path]:
    """Where to write what becomes `out` (from `check_output`) when the block ends without an exception.

    That is a new folder, or a file that does not exist yet in a folder of its own. After an exception it is removed
    again, with the parents that had to be created. What a killed process left behind for the same `out` is removed
    first. Raises OutputError for every OSError within the block but lack of memory: disk full, no
    permission, …
    """
    created: list[Path] = []
    partial = out.parent / f".{out.name}{_MARK}{os.getpid()}"
    try:
        created = make_folders(out.parent)
        _remove_stale(out)
        partial.mkdir()
    except OSError as error:
        _remove_empty(created)
        raise _failed(error, str(out)) from error
    try:
        place = partial / out.name if single_file else partial
        yield place
        sync_tree(partial)
        _move(place, out)
        shutil.rmtree(partial, ignore_errors=True)  # the empty folder around a single file
    except BaseException as error:
        shutil.rmtree(partial, ignore_errors=True)
        _remove_empty(created)
        if isinstance(error, OSError) and error.errno != errno.ENOMEM:
            raise _failed(error, str(out)) from error
        raise


def write_file(path: Path, content: str | bytes) -> None:
    """Write a new small file and bring it to the disk (fsync). Raises OSError as the file system does."""
    with path.open("xb") as file:
        file.write(content.encode() if isinstance(content, str) else content)
        file.flush()
        os.fsync(file.fileno())


def _move(place: Path, out: Path) -> None:
    if out.is_dir():
        out.rmdir()  # fails when something was put there meanwhile
    elif os.path.lexists(out):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), str(out))
    place.rename(out)
    sync_folder(out.parent)


def _remove_stale(out: Path) -> None:
    prefix = f".{out.name}{_MARK}"
    for folder in out.parent.iterdir():
        number = folder.name.removeprefix(prefix)
        if folder.name.startswith(prefix) and number.isdecimal() and not writer_lives(folder, int(number)):
            shutil.rmtree(folder)


def _remove_empty(folders: list[Path]) -> None:
    for folder in folders:
        try:
            folder.rmdir()
        except OSError:  # not there, or someone else uses it by now
            return


def _exists(what: str, out: str | Path) -> OutputError:
    return OutputError(what, where=str(out), remedy="Choose another name, or remove what is there first.")


def _failed(error: OSError, where: str) -> OutputError:
    return cannot_write(Path(where), error, "nothing was left behind")
