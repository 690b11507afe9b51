"""What reading a weight file's header gives, whatever its format."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
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
    """The tensors of one file in its own order, and what was odd about it but harmless.

    kind:     what the file is: "safetensors", "torch", "gguf", …
    left_out: names of what is in the file and is no weight.
    config:   what the file itself says of the network, as a `config.json` would.
    """

    entries: tuple[TensorEntry, ...]
    warnings: tuple[str, ...] = ()
    kind: str = "safetensors"
    left_out: tuple[str, ...] = ()
    config: dict[str, object] = field(default_factory=dict)


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


def listed(names: Sequence[str], shown: int = 4) -> str:
    """The first names, and how many more there are."""
    rest = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + rest
