"""The readers, by the kind of file that each reads. A reader takes a path and gives a Header, from headers alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from benchvise.core.checkpoint.formats.content import UNREADABLE, kind_of
from benchvise.core.checkpoint.formats.gguf_file import read_gguf_header
from benchvise.core.checkpoint.formats.hdf5_file import read_hdf5_header, read_keras_header
from benchvise.core.checkpoint.formats.msgpack_file import read_msgpack_header
from benchvise.core.checkpoint.formats.numpy_file import read_npy_header, read_npz_header
from benchvise.core.checkpoint.formats.onnx_file import read_onnx_header
from benchvise.core.checkpoint.header import Header, reject_pointer
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.torch_file import read_torch_header
from benchvise.core.errors import CheckpointError


@dataclass(frozen=True, slots=True)
class Reader:
    """What reads one kind of file. holds: what such files are and who writes them; package: the extra it needs."""

    read: Callable[[Path], Header]
    holds: str
    package: str = ""


READERS: Mapping[str, Reader] = {
    "safetensors": Reader(read_header, "SafeTensors, alone, in shards or with an index"),
    "torch": Reader(
        read_torch_header, "what `torch.save` writes, old and new, TorchScript, other pickles; nothing is executed"
    ),
    "gguf": Reader(read_gguf_header, "GGUF of llama.cpp, under its own names or those of transformers"),
    "npz": Reader(read_npz_header, "archives of NumPy, compressed or not"),
    "npy": Reader(read_npy_header, "one array of NumPy"),
    "hdf5": Reader(read_hdf5_header, "HDF5: `.h5` and `.weights.h5` of Keras and TensorFlow", "hdf5"),
    "keras": Reader(read_keras_header, "`.keras` archives", "hdf5"),
    "onnx": Reader(read_onnx_header, "initialisers of ONNX models, also those in a file beside the model"),
    "msgpack": Reader(read_msgpack_header, "MessagePack of Flax"),
}


def read_file(path: Path) -> Header:
    """The tensors of the file at `path`, whatever kind of file it is, and whatever it is called.

    Raises CheckpointError that says what the file is when it is none that holds tensors, or is damaged.
    """
    kind = kind_of(path)
    if kind in READERS:
        return READERS[kind].read(path)
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
