"""kill -9 amid tuning: the resumed job goes on at the last saved step and leaves the same bytes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from benchvise.core.tuning import state
from benchvise.core.tuning.state import PREFIX
from benchvise.core.workspace import journal
from tests.core.blockwise.calibrated_models import tiny
from tests.core.job.compress_samples import records
from tests.core.tuning.tuning_interruptions import LAYERS, STEPS, Steps, run

HERE = Path(__file__).parent
KILLED_AT = 4


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an undisturbed job, and one that was killed amid training, fell amid recording, then came to its end."""
    folder = tmp_path_factory.mktemp("killed")
    checkpoint, threads = tiny("llama", folder / "checkpoint"), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        run(checkpoint, folder / "undisturbed", Steps(folder / "undisturbed.steps"))
        assert killed(checkpoint, folder / "killed") == -signal.SIGKILL
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(state, "SAVE_SECONDS", 0.0)
            patch.setattr(journal, "append", cut_off_after(5))
            with pytest.raises(PowerCutError):
                run(checkpoint, folder / "killed", Steps(folder / "killed.steps"))
        assert not (folder / "killed.json").exists()
        run(checkpoint, folder / "killed", Steps(folder / "killed.steps"))
    finally:
        torch.set_num_threads(threads)
    return folder


class PowerCutError(BaseException):
    """Nothing handles it."""


def killed(checkpoint: Path, workspace: Path) -> int:
    """The exit status of a fresh interpreter that carries the job out: minus the signal that ended it."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
    command = [sys.executable, str(HERE / "tuning_interruptions.py"), str(checkpoint), str(workspace), str(KILLED_AT)]
    return subprocess.run(command, env=environment, timeout=300, check=False).returncode


def cut_off_after(count: int) -> Callable[[Path, journal.JournalEntry], None]:
    """So many lines are written; the record of the next one is there already."""
    left, append = [count], journal.append

    def appended(path: Path, entry: journal.JournalEntry) -> None:
        if not left[0]:
            raise PowerCutError
        left[0] -= 1
        append(path, entry)

    return appended


def told(folder: Path, kind: str, name: str = "killed") -> list[object]:
    lines = (folder / f"{name}.steps").read_text(encoding="utf-8").splitlines()
    return [what for found, what in map(json.loads, lines) if found == kind]


def test_records_and_result_equal_the_undisturbed(folder: Path) -> None:
    undisturbed, killed = (json.loads((folder / f"{name}.json").read_text()) for name in ("undisturbed", "killed"))
    assert len(undisturbed["layers"]) == LAYERS
    assert killed == undisturbed
    assert records(folder / "killed") == records(folder / "undisturbed")


def test_what_was_finished_is_not_done_again(folder: Path) -> None:
    every = [*range(1, STEPS + 1), 1, 2, 3]
    assert told(folder, "step", "undisturbed") == every
    assert told(folder, "step") == [*every[:KILLED_AT], *every[KILLED_AT - 1 :]]  # a state is saved behind its step
    solved = told(folder, "layer", "undisturbed")[:LAYERS]
    assert told(folder, "layer")[:LAYERS] == solved
    assert told(folder, "layer").count(solved[0]) <= 1 + 3  # solved once, recorded again by steps of tuning


def test_no_state_stays_when_the_run_is_done(folder: Path) -> None:
    assert not list(folder.glob(f"*/runs/*/{PREFIX}*.safetensors"))
    assert not list(folder.rglob("*.partial"))
