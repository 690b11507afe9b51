"""One layer to be compressed by another process, perhaps on another machine: what it is told, and what it answers."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path

from benchvise.core.checkpoint.identity import file_fingerprint
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.compress.compressed_layer import compress_layer
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.weights.cut_weights import weights_of

PACKAGES = ("benchvise", "torch")
"""Whose versions must be the same everywhere, so that the bytes are."""


@dataclass(frozen=True)
class ClusterJob:
    """What all tasks of a job have in common.

    fingerprints: of the checkpoint's files, by their paths. versions: of `PACKAGES`, by name.
    """

    path: str
    recipe: Recipe
    fingerprints: tuple[tuple[str, str], ...]
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class LayerTask:
    """layer: its name in the plan. shared: what a global fit says to it."""

    layer: str
    shared: Shared | None


@dataclass(frozen=True)
class SolvedLayer:
    """record: the record's bytes, as one machine alone would have written them; sha256: hex digest of these."""

    result: LayerCompressed
    record: bytes
    sha256: str


def job_of(path: str, plan: Plan) -> ClusterJob:
    """Raises CheckpointError when a file of the checkpoint is gone."""
    files = sorted({layer.tensor.file for layer in plan.source.layers})
    return ClusterJob(
        path, plan.recipe, tuple((file, file_fingerprint(file)) for file in files), tuple(versions().items())
    )


def versions() -> Mapping[str, str]:
    """What is installed here, of `PACKAGES`."""
    return {name: version(name) for name in PACKAGES}


def solve_task(job: ClusterJob, task: LayerTask) -> SolvedLayer:
    """Compress the layer from this machine's own copy of the checkpoint; nothing stays on its disk.

    Raises UserError where versions differ, CheckpointError where files do, and OutputError as writing does.
    """
    plan = _plan(job)
    row = next(row for row in plan.treated_rows if row.layer.name == task.layer)
    with tempfile.TemporaryDirectory(prefix="benchvise-task-") as folder:
        path = Path(folder) / "layer.safetensors"
        reader = weights_of(plan.operated)
        result, sha256 = compress_layer(row, reader, task.shared, path, NullProgress(), job.recipe.seed)
        return SolvedLayer(result, path.read_bytes(), sha256)


@lru_cache(maxsize=1)
def _plan(job: ClusterJob) -> Plan:
    """The job's plan, once this machine has shown that it would come to the same bytes."""
    here = versions()
    for name, wanted in job.versions:
        if here[name] != wanted:
            raise UserError(
                f"A worker has {name} {here[name]}, this machine {wanted}",
                remedy="Install the same versions on all machines of the cluster.",
            )
    for file, wanted in job.fingerprints:
        if file_fingerprint(file) != wanted:
            raise CheckpointError(
                "A worker has another file under this path",
                where=file,
                remedy="Copy the checkpoint to all machines of the cluster, or put it on a shared disk.",
            )
    return make_plan(open_checkpoint(job.path), job.recipe)
