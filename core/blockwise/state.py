"""Hidden states between two blocks, kept in the run's folder so that a job can be taken up there."""

from __future__ import annotations

import shutil
from dataclasses import dataclass, field
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError, OutputError
from benchvise.core.text import byte_text
from benchvise.core.workspace.atomic_files import whole_file

PREFIX = "activations-"
_STAGE = "stage"


@dataclass(frozen=True)
class State:
    """Where the walk is. stage: blocks before it are finished; their number means that only what follows them is left,
    one more that all is done. hidden: the streams that enter the block, by name."""

    stage: int
    hidden: dict[str, Tensor] = field(default_factory=dict)


class StateFile:
    """The state in a run's folder. `identity`, a hex digest, names the job: a state of another is not taken up."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._folder = folder
        self._path = folder / f"{PREFIX}{identity[:32]}.safetensors"

    def save(self, state: State) -> None:
        """Replace the last state in one step. Raises OutputError."""
        tensors = {name: values.detach().cpu().contiguous() for name, values in state.hidden.items()}
        tensors[_STAGE] = torch.tensor([state.stage])
        declared = [
            StoredTensor(name, str(values.dtype).removeprefix("torch."), tuple(values.shape))
            for name, values in tensors.items()
        ]
        with whole_file(self._path) as temporary, SafetensorsWriter(temporary, declared) as file:
            for name, values in tensors.items():
                file.write(name, values)

    def load(self) -> State | None:
        """The last state of this job; None when there is none, or none that can be read."""
        if not self._path.is_file():
            return None
        try:
            tensors = {entry.name: load_tensor(entry) for entry in read_header(self._path).entries}
            return State(int(tensors.pop(_STAGE)), tensors)
        except (CheckpointError, KeyError):
            return None

    def remove(self) -> None:
        """Nothing of any job's state stays in the folder."""
        for path in self._folder.glob(f"{PREFIX}*"):
            path.unlink(missing_ok=True)

    def check_space(self, nbytes: int) -> None:
        """Raises OutputError unless the disk holds two states of that size: the next is written beside the last."""
        free = shutil.disk_usage(self._folder).free
        if 2 * nbytes > free:
            raise OutputError(
                f"The disk has {byte_text(free)} left, and the activations of the calibration text, kept so that the "
                f"job can be resumed, take up to {byte_text(2 * nbytes)} while it runs",
                where=str(self._folder),
                remedy="Free space, choose another workspace folder, or fewer or shorter calibration windows.",
            )
