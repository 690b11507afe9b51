"""A tuned job in a process of its own: `python tuning_interruptions.py CHECKPOINT WORKSPACE STEP`.

It writes every step that it hears of to WORKSPACE.steps, and kills itself at optimiser step STEP.
"""

from __future__ import annotations

import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch

from benchvise.core.job.job import compress
from benchvise.core.methods.distil import Distil
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.polish import Polish
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.protocol.results import LayerCompressed, TuningStep
from benchvise.core.tuning import state
from tests.core.blockwise.calibrated_models import recipe
from tests.core.job.compress_samples import timeless

STEPS = 6
LAYERS = 14


class Steps(NullProgress):
    """Writes down the steps that it is told, and the layers that are computed; dies behind a step."""

    def __init__(self, log: Path, fatal: int = 0) -> None:
        self._log = log
        self._fatal = fatal
        self._last = 0

    def result(self, record: object) -> None:
        if isinstance(record, TuningStep) and record.loss is not None:
            self._last = record.step
            self._write(["step", record.step])
        if isinstance(record, LayerCompressed) and not record.resumed:
            self._write(["layer", record.name])

    def advance(self, units: int) -> None:  # noqa: ARG002
        if self._fatal and self._last == self._fatal:
            os.kill(os.getpid(), signal.SIGKILL)

    def _write(self, entry: list[object]) -> None:
        with self._log.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")


def run(checkpoint: Path, workspace: Path, progress: Steps) -> None:
    """Resume the job, or begin it: one block of three leaves, the others are learned from text, distilled and polished.

    What it gave is written to WORKSPACE.json.
    """
    distil = Distil(steps=STEPS, batch_windows=2, parts=2, text_samples=9, look_every=2, precision="float32")
    twice = (distil, Polish(steps=3, batch_windows=3, learning_rate=5e-4))
    asked = replace(recipe(), surgery=(DropBlocks((1,)),), tuning=twice)
    found = compress(Compress(str(checkpoint), asked, str(workspace), resume=True), progress)
    workspace.with_suffix(".json").write_text(json.dumps(asdict(timeless(found))), encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    state.SAVE_SECONDS = 0.0
    target = Path(sys.argv[2])
    run(Path(sys.argv[1]), target, Steps(target.with_suffix(".steps"), int(sys.argv[3])))
