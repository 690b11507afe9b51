"""Layer records: one safetensors file per compressed layer, addressed by what went into it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from benchvise.core.checkpoint.identity import tensor_identity
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.errors import CheckpointError
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.workspace.atomic_files import whole_file

ARITHMETIC_VERSION = 2
"""Raise when the same treatment gives other bytes than before, so that old records are not taken for new ones."""


def record_key(layer: Layer, treatment: Treatment, shared: Shared | None, seed: int) -> str:
    """sha256 hex over the tensor, the treatment, the global fit and the version of the arithmetic.

    Where they matter, also over the recipe's `seed`, and the versions of packages that methods come from.
    """
    parts: list[object] = [
        ARITHMETIC_VERSION,
        tensor_identity(layer.tensor),
        layer.matrix_shape,
        treatment.to_mapping(),
        shared.digest if shared else "",
    ]
    if treatment.solver.randomised:
        parts.append([seed, layer.name])
    if treatment.packages:
        parts.append(list(treatment.packages))
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


def is_whole(path: Path, layer: Layer, treatment: Treatment, sha256: str) -> bool:
    """Whether the record with that digest lies there, and holds exactly the tensors of the layer under the treatment.

    sha256: hex digest from the journal; without one, no record is trusted.
    """
    if not sha256 or not path.is_file():
        return False
    try:
        header = read_header(path)
        found = {(entry.name, entry.dtype, entry.shape) for entry in header.entries}
        declared = {(stored.name, stored.dtype, stored.shape) for stored in treatment.storage(layer)}
        return found == declared and file_sha256(path) == sha256
    except (CheckpointError, OSError):
        return False


def file_sha256(path: Path) -> str:
    """Hex digest of the file's content. Raises OSError."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def place_record(path: Path, record: bytes) -> None:
    """Put the bytes of a record, written elsewhere, under its name. Raises OutputError; nothing is left behind then."""
    with whole_file(path) as temporary:
        temporary.write_bytes(record)


def write_record(
    path: Path, layer: Layer, treatment: Treatment, parts: Iterator[SolvedRows], tail: Callable[[], dict[str, Tensor]]
) -> str:
    """Write the record as its rows come; it appears under its name only when it is whole. Returns its sha256 (hex).

    parts: stored tensors [rows, ...] of the shapes and dtypes that `treatment.storage(layer)` declares; tail: others.
    Raises OutputError when the disk does not take it; nothing is left behind then.
    """
    metadata = {"layer": layer.name, "treatment": treatment.tag}
    with whole_file(path) as temporary:
        with SafetensorsWriter(temporary, treatment.storage(layer), metadata) as file:
            for part in parts:
                for name, values in part.stored.items():
                    file.write(name, values.cpu())
            for name, values in tail().items():
                file.write(name, values.cpu())
        return file_sha256(temporary)
