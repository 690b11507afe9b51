"""What reading a weight file's header gives, whatever its format."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError

MAX_RANK = 64
"""numpy's limit of dimensions."""

MAX_ELEMENTS = 2**58
"""No tensor has more values, even where a zero among its sizes leaves it without any: numpy could not describe it."""

_POINTER = b"version https://git-lfs"


@dataclass(frozen=True, slots=True)
class Header:
    """The tensors of one file in its own order, and what was odd about it but harmless."""

    entries: tuple[TensorEntry, ...]
    warnings: tuple[str, ...] = ()


def reject_pointer(path: Path) -> None:
    """Raises CheckpointError when the file is but the note that Git leaves in place of a large file."""
    with path.open("rb") as file:
        if file.read(len(_POINTER)) != _POINTER:
            return
    raise CheckpointError(
        "This is a Git LFS pointer, not the data itself",
        where=str(path),
        remedy="Fetch the data with `git lfs pull`, or download the file again.",
    )
