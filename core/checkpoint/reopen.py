"""Checkpoints that are asked for again and again, opened anew only when their files changed."""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass
from pathlib import Path

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint

Stamp = tuple[tuple[int, int] | None, ...]


@dataclass(frozen=True)
class _Opened:
    path: str
    checkpoint: Checkpoint
    files: tuple[str, ...]
    stamp: Stamp


class LastOpened:
    """Keeps the checkpoint that was opened last. Threads may share one."""

    def __init__(self) -> None:
        self._last: _Opened | None = None
        self._lock = threading.Lock()

    def open(self, path: str) -> Checkpoint:
        """The checkpoint at `path`; headers are read only if it is another one or has changed.

        Raises CheckpointError as `open_checkpoint` does.
        """
        place = os.path.abspath(os.path.expanduser(path))  # noqa: PTH100, PTH111 - pathlib's raises for unknown users
        with self._lock:
            last = self._last
            if last is None or last.path != place or _stamp(last.files) != last.stamp:
                last = self._last = _open(place)
            return last.checkpoint


LAST_OPENED = LastOpened()
"""Of this process: queries about one checkpoint come by the hundred."""


def _open(path: str) -> _Opened:
    checkpoint = open_checkpoint(path)
    place = Path(checkpoint.path)
    config = (place if place.is_dir() else place.parent) / "config.json"
    files = tuple(dict.fromkeys((path, str(config), *(layer.tensor.file for layer in checkpoint.layers))))
    return _Opened(path, checkpoint, files, _stamp(files))


def _stamp(files: tuple[str, ...]) -> Stamp:
    """Size and date of each file; None where there is none. A folder's date changes with its entries."""
    return tuple(_size_and_date(file) for file in files)


def _size_and_date(file: str) -> tuple[int, int] | None:
    try:
        status = os.stat(file)  # noqa: PTH116 - a Path for each of many files takes longer than the look at it
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns
