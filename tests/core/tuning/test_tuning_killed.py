"""kill -9 amid tuning: the resumed job goes on at the last saved step and leaves the same bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchvise.core.tuning.state import PREFIX
from tests.core.blockwise.calibrated_models import tiny
from tests.core.job.compress_samples import records
from tests.core.tuning.tuning_interruptions import LAYERS, STEPS

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Any]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    checkpoint = tiny("llama", folder / "checkpoint")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
    command = [sys.executable, str(HERE / "tuning_interruptions.py"), str(checkpoint), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_records_and_result_equal_the_undisturbed(outcomes: dict[str, Any], folder: Path) -> None:
    expected = records(folder / "undisturbed")
    assert len(outcomes["undisturbed"]["run"]["layers"]) == LAYERS
    for name in outcomes.keys() - {"undisturbed"}:
        assert (outcomes[name]["died"], outcomes[name]["exit"]) == (-9, 0), name
        assert records(folder / name) == expected, name
        assert outcomes[name]["run"] == outcomes["undisturbed"]["run"], name


def test_what_was_finished_is_not_done_again(outcomes: dict[str, Any]) -> None:
    every = [["polish", step] for step in (*range(1, STEPS + 1), 1, 2, 3)]
    assert outcomes["undisturbed"]["steps"] == every
    assert outcomes["step 4"]["steps"] == every[3:]  # the state is saved behind a step that was told
    assert outcomes["first commit"]["steps"] == every[STEPS:]
    assert outcomes["second commit"]["steps"] == []
    assert not any(outcomes[name]["computed"] for name in outcomes if name != "undisturbed")


def test_no_state_stays_when_the_run_is_done(outcomes: dict[str, Any], folder: Path) -> None:
    assert outcomes
    assert not list(folder.glob(f"*/runs/*/{PREFIX}*.safetensors"))
    assert not list(folder.rglob("*.partial"))
