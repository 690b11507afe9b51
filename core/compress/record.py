"""Layer records: one safetensors file per compressed layer, addressed by what went into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from benchvise.core.checkpoint.identity import tensor_identity
from benchvise.core.checkpoint.records import Layer, StoredTensor
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.errors import CheckpointError
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.workspace.atomic_files import whole_file

ARITHMETIC_VERSION = 1
"""Raise when the same treatment gives other bytes than before, so that old records are not taken for new ones."""


def record_key(layer: Layer, treatment: Treatment, shared: Shared | None) -> str:
    """sha256 hex over the tensor, the treatment, the global fit and the version of the arithmetic."""
    parts = [
        ARITHMETIC_VERSION,
        tensor_identity(layer.tensor),
        layer.matrix_shape,
        treatment.to_mapping(),
        shared.digest if shared else "",
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_whole(path: Path, layer: Layer, treatment: Treatment) -> bool:
    """Whether a record lies there that holds exactly the tensors of the layer under the treatment."""
    if not path.is_file():
        return False
    try:
        header = read_header(path)
    except CheckpointError:
        return False
    found = {(entry.name, entry.dtype, entry.shape) for entry in header.entries}
    return found == {(stored.name, stored.dtype, stored.shape) for stored in treatment.storage(layer)}


def write_record(
    path: Path, layer: Layer, treatment: Treatment, parts: Iterator[SolvedRows], tail: Callable[[], dict[str, Tensor]]
) -> None:
    """Write the record as its rows come; it appears under its name only when it is whole.

    Raises OutputError when the disk does not take it; nothing is left behind then.
    """
    metadata = {"layer": layer.name, "treatment": treatment.tag}
    with whole_file(path) as temporary, SafetensorsWriter(temporary, _declared(layer, treatment), metadata) as file:
        for part in parts:
            for name, values in part.stored.items():
                file.write(name, values.cpu())
        for name, values in tail().items():
            file.write(name, values.cpu())


def _declared(layer: Layer, treatment: Treatment) -> list[StoredTensor]:
    return [StoredTensor(stored.name, stored.dtype, stored.shape) for stored in treatment.storage(layer)]
