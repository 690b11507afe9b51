"""kill -9 within a block or between blocks: the resumed job leaves what an undisturbed one leaves, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchvise.core.blockwise import state
from benchvise.core.blockwise.state import PREFIX
from benchvise.core.errors import Cancelled, OutputError
from tests.core.blockwise.calibrated_models import recipe, tiny
from tests.core.job.compress_samples import Watcher, cancel, records, run_recipe, timeless

HERE = Path(__file__).parent
LAYERS_OF_A_BLOCK = 7


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Any]:
    if not hasattr(os, "fork"):
        pytest.skip("needs fork")
    checkpoint = tiny("llama", folder / "checkpoint")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
    command = [sys.executable, str(HERE / "blockwise_interruptions.py"), str(checkpoint), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def deaths(outcomes: dict[str, Any]) -> dict[str, Any]:
    return {name: outcome for name, outcome in outcomes.items() if name != "undisturbed"}


def test_records_and_result_equal_the_undisturbed(outcomes: dict[str, Any], folder: Path) -> None:
    expected = records(folder / "undisturbed")
    for name, outcome in deaths(outcomes).items():
        assert (outcome["died"], outcome["exit"]) == (-9, 0), name
        assert records(folder / name) == expected, name
        assert outcome["run"] == outcomes["undisturbed"]["run"], name


def test_finished_blocks_are_not_done_again(outcomes: dict[str, Any]) -> None:
    layers = {layer["name"] for layer in outcomes["undisturbed"]["run"]["layers"]}
    skipped = set()
    for name, outcome in deaths(outcomes).items():
        assert {*outcome["resumed"], *outcome["computed"]} == layers, name
        assert set(outcome["resumed"]) <= set(outcome["told"]), name
        assert len(set(outcome["told"]) - set(outcome["resumed"])) <= LAYERS_OF_A_BLOCK + 1, name
        assert outcome["advanced"][0] == outcome["advanced"][1], name
        skipped.add(len(outcome["resumed"]))
    assert skipped >= {0, 1 + LAYERS_OF_A_BLOCK, 1 + 2 * LAYERS_OF_A_BLOCK}


def test_activations_go_when_the_run_is_done(outcomes: dict[str, Any], folder: Path) -> None:
    assert any(outcome["states"] for outcome in deaths(outcomes).values())
    assert all(outcome["states"] <= 1 for outcome in deaths(outcomes).values())
    assert not list(folder.glob(f"*/runs/*/{PREFIX}*"))
    assert not list(folder.rglob("*.partial"))


def test_cancel_and_resume(tmp_path: Path) -> None:
    checkpoint = tiny("llama", tmp_path / "checkpoint")
    expected = run_recipe(checkpoint, tmp_path / "undisturbed", recipe())
    workspace = tmp_path / "workspace"
    stopping = Watcher()
    stopping.result = lambda record: cancel() if record.name.endswith("1.mlp.up_proj") else None  # type: ignore[method-assign,attr-defined]
    with pytest.raises(Cancelled):
        run_recipe(checkpoint, workspace, recipe(), progress=stopping)
    progress = Watcher()
    found = run_recipe(checkpoint, workspace, recipe(), resume=True, progress=progress)
    assert [layer.name for layer in progress.results if layer.resumed] == [
        layer.name for layer in progress.results if ".layers.0." in layer.name
    ]
    assert timeless(found) == timeless(expected)
    assert records(workspace) == records(tmp_path / "undisturbed")
    again = run_recipe(checkpoint, workspace, recipe(), resume=True)
    assert all(layer.resumed for layer in again.layers)
    assert again.run == found.run


def test_a_damaged_state_is_not_taken_up(tmp_path: Path) -> None:
    checkpoint = tiny("llama", tmp_path / "checkpoint")
    expected = run_recipe(checkpoint, tmp_path / "undisturbed", recipe())
    workspace = tmp_path / "workspace"
    stopping = Watcher()
    stopping.result = lambda record: cancel() if record.name.endswith("1.mlp.up_proj") else None  # type: ignore[method-assign,attr-defined]
    with pytest.raises(Cancelled):
        run_recipe(checkpoint, workspace, recipe(), progress=stopping)
    (kept,) = workspace.glob(f"runs/*/{PREFIX}*")
    kept.write_bytes(kept.read_bytes()[:100])
    found = run_recipe(checkpoint, workspace, recipe(), resume=True)
    assert not any(layer.resumed for layer in found.layers)
    assert records(workspace) == records(tmp_path / "undisturbed")
    assert timeless(found) == timeless(expected)


def test_a_changed_text_begins_again(tmp_path: Path) -> None:
    checkpoint = tiny("llama", tmp_path / "checkpoint")
    text = tmp_path / "text.txt"
    text.write_text("The dog and the cat sat on a mat. " * 60)
    asked = recipe()
    asked = type(asked)(asked.rules, calibration=type(asked.calibration)(str(text), 4, 32))
    first = run_recipe(checkpoint, tmp_path / "workspace", asked)
    text.write_text("Once upon a time there was a little bird. " * 60)
    found = run_recipe(checkpoint, tmp_path / "workspace", asked, resume=True)
    assert found.run == first.run
    assert not any(layer.resumed for layer in found.layers)
    assert [layer.sqnr_db for layer in found.layers] != [layer.sqnr_db for layer in first.layers]


def test_a_disk_without_room_for_activations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoint = tiny("llama", tmp_path / "checkpoint")
    room = state.shutil._ntuple_diskusage(1 << 20, 0, 40_000)
    monkeypatch.setattr(state.shutil, "disk_usage", lambda _: room)
    with pytest.raises(OutputError, match="activations of the calibration text") as raised:
        run_recipe(checkpoint, tmp_path / "workspace", recipe())
    assert "fewer or shorter" in raised.value.remedy
