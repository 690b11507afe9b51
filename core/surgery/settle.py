"""Surgery that calibration text decided: its cut tensors lie in files of their own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchvise.core.checkpoint.records import Checkpoint, StoredTensor
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.errors import CheckpointError
from benchvise.core.methods.surgery import Surgery
from benchvise.core.surgery.derived import Derived, Operated
from benchvise.core.surgery.operate import operate


def cut_tensors(step: Derived) -> tuple[StoredTensor, ...]:
    """The tensors that a file of the step's cut tensors holds, in its order."""
    cut = (layer for layer in step.checkpoint.layers if layer.name in step.cuts)
    return tuple(StoredTensor(layer.tensor.name, layer.dtype, layer.shape) for layer in cut)


def holds(path: Path, step: Derived) -> bool:
    """Whether the file is there and has exactly the step's cut tensors."""
    try:
        found = {(entry.name, entry.dtype, entry.shape) for entry in read_header(path).entries}
    except (CheckpointError, OSError):
        return False
    return found == {(tensor.name, tensor.dtype, tensor.shape) for tensor in cut_tensors(step)}


def settled(step: Derived, path: Path) -> Derived:
    """The step with its cut tensors where they lie. Raises CheckpointError unless the file holds them."""
    if not holds(path, step):
        raise CheckpointError(
            "What the run's surgery left of the network is missing from the workspace, or damaged",
            where=str(path),
            remedy="Carry out the recipe once more with `compress --resume`; it computes what is missing.",
        )
    entries = {entry.name: entry for entry in read_header(path).entries}
    layers = tuple(
        replace(layer, tensor=entries[layer.tensor.name]) if layer.name in step.cuts else layer
        for layer in step.checkpoint.layers
    )
    return replace(step, checkpoint=replace(step.checkpoint, layers=layers), cuts={}, groups=())


def operate_settled(checkpoint: Checkpoint, surgery: Sequence[Surgery], files: Sequence[Path]) -> Operated:
    """As `operate`, with the files of those steps that calibration text decided, in order. Raises CheckpointError."""
    left = iter(files)

    def settle(_before: Operated, step: Derived) -> Derived:
        path = next(left, None)
        if path is None:
            raise CheckpointError(
                "The run does not say what its surgery left of the network",
                where=checkpoint.path,
                remedy="Carry out the recipe once more.",
            )
        return settled(step, path)

    return operate(checkpoint, surgery, settle)
