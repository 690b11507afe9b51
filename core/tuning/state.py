"""Where a tuning step is, kept in the run's folder so that a job can be resumed there."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError
from benchvise.core.workspace.atomic_files import whole_file

SAVE_SECONDS = 20.0
"""So much work at most is done again after an interruption."""

PREFIX = "tuning-"
_GROUPS = ("value", "mean", "square")
_BEST = "best"


@dataclass(frozen=True)
class TuningState:
    """After `step` optimiser steps: what is trained, and the optimiser's two moments, float32 each.

    before: KL on held-out samples before the first step. least: the least since, after `best_step` steps, with what was
    trained then (`best`, None while nothing was better than before), and so many looks ago (`waited`).
    """

    step: int
    before: float
    values: Sequence[Tensor]
    means: Sequence[Tensor]
    squares: Sequence[Tensor]
    least: float
    best_step: int = 0
    waited: int = 0
    best: Sequence[Tensor] | None = None


class TuningStateFile:
    """The state in a run's folder. `identity`, a hex digest, names job and step: a state of another is not used."""

    def __init__(self, folder: Path, identity: str) -> None:
        self._path = folder / f"{PREFIX}{identity[:32]}.safetensors"

    def save(self, state: TuningState) -> None:
        """Replace the last state in one step. Raises OutputError."""
        counts = torch.tensor([state.step, state.best_step, state.waited])
        tensors = {"counts": counts, "kl": torch.tensor([state.before, state.least], dtype=torch.float64)}
        groups = dict(zip(_GROUPS, (state.values, state.means, state.squares), strict=True))
        if state.best is not None:
            groups[_BEST] = state.best
        for group, parts in groups.items():
            tensors |= {f"{group}.{index}": part.detach().cpu().contiguous() for index, part in enumerate(parts)}
        declared = [
            StoredTensor(name, str(values.dtype).removeprefix("torch."), tuple(values.shape))
            for name, values in tensors.items()
        ]
        with whole_file(self._path) as temporary, SafetensorsWriter(temporary, declared) as file:
            for name, values in tensors.items():
                file.write(name, values)

    def load(self, like: Sequence[Tensor]) -> TuningState | None:
        """The last state of this step, float32, each of the same shape as in `like`; None when
        none fits."""
        if not self._path.is_file():
            return None
        try:
            found = {entry.name: load_tensor(entry) for entry in read_header(self._path).entries}
            names = (*_GROUPS, _BEST) if f"{_BEST}.0" in found else _GROUPS
            groups = [[found[f"{group}.{index}"] for index in range(len(like))] for group in names]
            step, best_step, waited = found["counts"].tolist()
            before, least = found["kl"].tolist()
        except (CheckpointError, KeyError):
            return None
        if any(part.shape != wanted.shape for group in groups for part, wanted in zip(group, like, strict=True)):
            return None
        values, means, squares, *rest = groups
        return TuningState(step, before, values, means, squares, least, best_step, waited, rest[0] if rest else None)

    def remove(self) -> None:
        """The step is done: nothing of its state stays."""
        self._path.unlink(missing_ok=True)
