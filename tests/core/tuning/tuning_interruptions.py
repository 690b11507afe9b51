"""Tuned jobs that are killed: `python tuning_interruptions.py CHECKPOINT FOLDER` prints what became of each as JSON.

Run as a program of its own, which loads torch once and forks for every death, before any thread of torch has started.
"""

from __future__ import annotations

import json
import sys
from dataclasses import asdict, replace
from pathlib import Path

import torch
import transformers.conversion_mapping
import transformers.models.llama.modeling_llama
import transformers.tokenization_utils_tokenizers  # noqa: F401 - loaded once, before the forks

from benchvise.core.job.job import compress
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.polish import Polish
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress
from benchvise.core.protocol.results import LayerCompressed, TuningStep
from benchvise.core.tuning import state
from benchvise.core.workspace import journal
from tests.core.blockwise.calibrated_models import recipe
from tests.core.job.compress_samples import timeless
from tests.core.job.interruptions import die, forked

STEPS = 6
LAYERS = 14


class Steps(NullProgress):
    """Remembers the steps of each stage that it is told, and dies behind one of them."""

    def __init__(self, fatal: tuple[str, int] = ("", -1)) -> None:
        self.fatal = fatal
        self.steps: list[tuple[str, int]] = []
        self.computed: list[str] = []

    def result(self, record: object) -> None:
        if isinstance(record, TuningStep) and record.loss is not None:
            self.steps.append((record.method, record.step))
        if isinstance(record, LayerCompressed) and not record.resumed:
            self.computed.append(record.name)

    def advance(self, units: int) -> None:  # noqa: ARG002
        if self.steps and self.steps[-1] == self.fatal:
            die()


def asked_request(checkpoint: Path, workspace: Path, *, resume: bool) -> Compress:
    """One block of three leaves; the others are learned from text, then polished twice."""
    twice = (Polish(steps=STEPS, batch_windows=2), Polish(steps=3, batch_windows=3, learning_rate=5e-4))
    asked = replace(recipe(), surgery=(DropBlocks((1,)),), tuning=twice)
    return Compress(str(checkpoint), asked, str(workspace), resume=resume)


def run(checkpoint: Path, workspace: Path, progress: Steps, *, resume: bool) -> None:
    torch.set_num_threads(1)
    state.SAVE_SECONDS = 0.0
    found = compress(asked_request(checkpoint, workspace, resume=resume), progress)
    answer = {"run": asdict(timeless(found)), "steps": progress.steps, "computed": progress.computed}
    workspace.with_suffix(".json").write_text(json.dumps(answer))


def dies_in_journal(count: int) -> None:
    """So many lines are written; the record of the next one is there already."""
    left, append = [count], journal.append

    def appended(path: Path, entry: journal.JournalEntry) -> None:
        if not left[0]:
            die()
        left[0] -= 1
        append(path, entry)

    journal.append = appended


def main(checkpoint: Path, folder: Path) -> None:
    found = {}
    assert forked(lambda: run(checkpoint, folder / "undisturbed", Steps(), resume=False)) == 0
    found["undisturbed"] = json.loads((folder / "undisturbed.json").read_text())
    deaths = {
        "step 4": lambda: run(checkpoint, folder / "step 4", Steps(("polish", 4)), resume=False),
        "first commit": lambda: (
            dies_in_journal(LAYERS + 5),
            run(checkpoint, folder / "first commit", Steps(), resume=False),
        ),
        "second commit": lambda: (
            dies_in_journal(LAYERS + LAYERS + 5 + 3),
            run(checkpoint, folder / "second commit", Steps(), resume=False),
        ),
    }
    for name, death in deaths.items():
        died = forked(death)
        resumed = forked(lambda name=name: run(checkpoint, folder / name, Steps(), resume=True))
        found[name] = {"died": died, "exit": resumed, **json.loads((folder / f"{name}.json").read_text())}
    print(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
