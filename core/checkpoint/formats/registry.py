"""The readers, by the kind of file that each reads. A reader takes a path and gives a Header, from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from benchvise.core.checkpoint.formats.content import UNREADABLE, kind_of
from benchvise.core.checkpoint.formats.gguf_file import read_gguf_header
from benchvise.core.checkpoint.formats.hdf5_file import read_hdf5_header
from benchvise.core.checkpoint.formats.numpy_file import read_npy_header, read_npz_header
from benchvise.core.checkpoint.header import Header, reject_pointer
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.torch_file import read_torch_header
from benchvise.core.errors import CheckpointError

Reader = Callable[[Path], Header]

READERS: Mapping[str, Reader] = {
    "safetensors": read_header,
    "torch": read_torch_header,
    "gguf": read_gguf_header,
    "npz": read_npz_header,
    "npy": read_npy_header,
    "hdf5": read_hdf5_header,
}


def read_file(path: Path) -> Header:
    """The tensors of the file at `path`, whatever kind of file it is, and whatever it is called.

    Raises CheckpointError that says what the file is when it is none that holds tensors, or is damaged.
    """
    kind = kind_of(path)
    if kind in READERS:
        return READERS[kind](path)
    if kind == "git-lfs":
        reject_pointer(path)
    if kind in UNREADABLE:
        known = UNREADABLE[kind]
        raise CheckpointError(known.what, where=str(path), remedy=known.remedy)
    raise CheckpointError(
        "The file is of no kind that is known",
        where=str(path),
        remedy=f"Open a folder, or a file in one of these formats: {', '.join(READERS)}.",
    )


def holds_tensors(path: Path) -> bool:
    """Whether the file begins like one that a reader reads. A file that cannot be read does not."""
    try:
        return kind_of(path) in READERS
    except CheckpointError:
        return False
