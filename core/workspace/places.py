"""Where a workspace lies, and files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import platformdirs

from core.errors import OutputError

ENVIRONMENT = "BENCHVISE_WORKSPACE"


def workspace_path(path: str = "") -> Path:
    """The folder asked for, else $BENCHVISE_WORKSPACE, else the user's data folder."""
    chosen = path or os.environ.get(ENVIRONMENT, "")
    return (
        Path(chosen).expanduser().resolve()
        if chosen
        else Path(platformdirs.user_data_dir("benchvise", False)) / "workspace"
    )


def write_text(path: Path, text: str) -> None:
    """Write a file so that a crash leaves the old one or the new one. Raises OutputError."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise cannot_write(path, error) from error


def cannot_write(path: Path, error: OSError) -> OutputError:
    """The sentence for a write that failed."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return OutputError(
            "The disk is full", where=str(path), remedy="Free space or choose another place; finished layers are kept."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return OutputError("The place cannot be written to", where=str(path), remedy="Choose a folder of your own.")
    return OutputError(f"Writing failed: {error.strerror or error}", where=str(path), remedy="Try another place.")
