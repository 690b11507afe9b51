"""What a tensor is, told without reading it: good for naming results that were made from it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path

from benchvise.core.checkpoint.records import Checkpoint, Layer, TensorEntry
from benchvise.core.errors import CheckpointError

_SAMPLES, _SAMPLE_BYTES = 17, 1 << 16
"""Of a file's content, spread evenly from its first to its last byte."""


def tensor_identity(entry: TensorEntry) -> str:
    """Hex digest that changes with the tensor's place, name, dtype or shape, and with its file's size or date.

    Raises CheckpointError when the file is gone.
    """
    return _digest([_file_identity(entry.file), _description(entry)])


def tensor_identities(layers: Iterable[Layer]) -> dict[str, str]:
    """`tensor_identity` by layer; each file is asked once. Raises CheckpointError when a file is gone."""
    known: dict[str, list[object]] = {}
    found: dict[str, str] = {}
    for layer in layers:
        file = layer.tensor.file
        if file not in known:
            known[file] = _file_identity(file)
        found[layer.name] = _digest([known[file], _description(layer.tensor)])
    return found


def checkpoint_identity(checkpoint: Checkpoint) -> str:
    """Hex digest that changes when any tensor's identity does."""
    files = {file: _file_identity(file) for file in {layer.tensor.file: None for layer in checkpoint.layers}}
    return _digest([[files[layer.tensor.file], _description(layer.tensor)] for layer in checkpoint.layers])


def file_fingerprint(file: str) -> str:
    """Hex digest of the file's size and of samples of its content: the same for copies on other machines.

    Raises CheckpointError when the file is gone or cannot be read.
    """
    found = hashlib.sha256()
    try:
        size = Path(file).stat().st_size
        found.update(str(size).encode())
        with Path(file).open("rb") as opened:
            for number in range(_SAMPLES):
                opened.seek(max(0, size - _SAMPLE_BYTES) * number // (_SAMPLES - 1))
                found.update(opened.read(_SAMPLE_BYTES))
    except OSError as error:
        raise CheckpointError(
            f"The file cannot be read: {error.strerror}", where=file, remedy="Put the checkpoint where it was."
        ) from error
    return found.hexdigest()


def _description(entry: TensorEntry) -> list[object]:
    stored = [entry.name, entry.offset, entry.dtype, entry.shape, entry.strides]
    return [*stored, entry.cut] if entry.cut else stored


def _file_identity(file: str) -> list[object]:
    try:
        path = Path(file).resolve(strict=True)
        status = path.stat()
    except OSError as error:
        raise CheckpointError(
            f"The file is not there any more: {error.strerror}", where=file, remedy="Open the checkpoint again."
        ) from error
    return [str(path), status.st_size, status.st_mtime_ns]


def _digest(value: list[object]) -> str:
    return hashlib.sha256(json.dumps(value).encode()).hexdigest()
