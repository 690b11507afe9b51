"""A person opens the sample, looks, measures, chooses, runs, compares and exports, in the real window."""

from __future__ import annotations

import hashlib
import json
import signal
from pathlib import Path

import psutil
import pytest
import torch
from PySide6.QtCore import QMimeData, QPointF, Qt, QUrl
from PySide6.QtGui import QDropEvent
from pytestqt.qtbot import QtBot
from transformers import AutoModelForCausalLM

from benchvise.app.cli.entry import main as run_command
from benchvise.app.shell.main_window import MainWindow
from benchvise.app.state.jobs import DONE, FAILED, STOPPED, Job
from benchvise.core.protocol.requests import Compress, Evaluate, Export, MeasureLatency
from benchvise.core.protocol.results import Evaluation, Latency
from benchvise.core.recipe.presets import load_preset
from benchvise.core.weights.open import open_weights
from tests.end_to_end.conftest import SAMPLE, TIMEOUT_MS


def open_sample(window: MainWindow, qtbot: QtBot) -> None:
    window.opening.open(str(SAMPLE))
    qtbot.waitUntil(lambda: window.session.document.plan is not None, timeout=TIMEOUT_MS)


def choose(window: MainWindow, qtbot: QtBot, preset: str) -> None:
    document = window.session.document
    document.set_recipe(load_preset(preset), f"Preset {preset}")
    qtbot.waitUntil(lambda: document.plan_is_current, timeout=TIMEOUT_MS)


def last_job(window: MainWindow, kind: type) -> Job:
    return [job for job in window.session.jobs if isinstance(job.request, kind)][-1]


def press_run(window: MainWindow, qtbot: QtBot) -> None:
    """Run, as a person does who reads what the check found and goes on."""
    preflight = window.work.preflight

    def runs() -> int:
        return sum(isinstance(job.request, Compress) for job in window.session.jobs)

    before = runs()
    window.commands["run"].callback()
    qtbot.waitUntil(lambda: runs() > before or preflight.waits_for_decision, timeout=TIMEOUT_MS)
    if preflight.dialog is not None:
        preflight.dialog.run_button.click()
    qtbot.waitUntil(lambda: runs() > before, timeout=TIMEOUT_MS)


def wait_for(window: MainWindow, qtbot: QtBot, kind: type) -> Job:
    qtbot.waitUntil(lambda: last_job(window, kind).ended, timeout=TIMEOUT_MS)
    job = last_job(window, kind)
    assert job.state == DONE, job.failure
    return job


def hashes(folder: Path) -> dict[str, str]:
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in folder.iterdir() if path.is_file()}


def test_whole_way(window: MainWindow, qtbot: QtBot, workspace: str, tmp_path: Path) -> None:
    before = hashes(SAMPLE)
    document = window.session.document
    open_sample(window, qtbot)
    assert document.checkpoint is not None
    assert document.checkpoint.parameters == 260_032

    up = next(i for i, layer in enumerate(document.checkpoint.layers) if layer.name.endswith("0.mlp.up_proj"))
    document.select([up])
    choose(window, qtbot, "int8-channel")
    assert document.plan is not None
    assert document.plan.treated_layers == 35
    forecast = document.plan.total_after
    document.undo.undo()
    assert document.recipe.rules == ()
    document.undo.redo()
    qtbot.waitUntil(lambda: document.plan_is_current, timeout=TIMEOUT_MS)

    press_run(window, qtbot)
    run = wait_for(window, qtbot, Compress)
    assert len(run.layers) == 35
    assert document.active_run
    assert run.result is not None
    assert run.result.bytes_after == forecast
    window.work.ask_evaluation()
    evaluation = wait_for(window, qtbot, Evaluate).result
    assert isinstance(evaluation, Evaluation)
    assert evaluation.kl_mean is not None
    assert 0 < evaluation.kl_mean < 0.01
    window.work.measure_latency()
    latency = wait_for(window, qtbot, MeasureLatency).result
    assert isinstance(latency, Latency)
    assert latency.speed_up is not None

    def measured() -> bool:  # runs are read anew by the engine
        listed = document.active_summary()
        return listed is not None and listed.decode_peak_bytes is not None

    qtbot.waitUntil(measured, timeout=TIMEOUT_MS)
    summary = document.active_summary()
    assert summary is not None
    assert summary.kl_mean == evaluation.kl_mean
    assert summary.decode_peak_bytes_before is not None

    out = tmp_path / "from-window"
    window.work.ask_export("compressed-tensors", str(out))
    wait_for(window, qtbot, Export)
    assert hashes(SAMPLE) == before

    from_command_line = tmp_path / "from-command-line"
    command = ["compress", str(SAMPLE), "--preset", "int8-channel", "--out", str(from_command_line)]
    assert run_command([*command, "--workspace", str(tmp_path / "other")]) == 0
    assert hashes(out) == hashes(from_command_line)
    assert_transformers_computes_what_the_run_does(out, f"run:{document.active_run}", workspace)


def assert_transformers_computes_what_the_run_does(out: Path, source: str, workspace: str) -> None:
    loaded = AutoModelForCausalLM.from_pretrained(out, dtype=torch.float32).eval()
    original = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32).eval()
    weights = open_weights(source, workspace)
    state = original.state_dict()
    for layer in weights.checkpoint.layers:
        state[layer.tensor.name].copy_(weights.dense(layer))
    ids = torch.arange(1, 65)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded(ids).logits, original(ids).logits, rtol=1e-5, atol=1e-4)


def test_sensitivity_fills_the_map_and_is_kept(window: MainWindow, qtbot: QtBot) -> None:
    from benchvise.core.protocol.requests import MeasureSensitivity
    from benchvise.core.recipe.recipe import parse_treatment

    open_sample(window, qtbot)
    document = window.session.document
    treatment = parse_treatment({"scheme": {"method": "integer", "bits": 2, "granularity": "channel"}}, "test")
    request = MeasureSensitivity(str(SAMPLE), "", (treatment,), windows=2, workspace=document.workspace)
    window.session.client.ask(request)
    qtbot.waitUntil(lambda: len(document.sensitivity) > 3, timeout=TIMEOUT_MS)
    assert not last_job(window, MeasureSensitivity).ended or len(document.sensitivity) == 36
    wait_for(window, qtbot, MeasureSensitivity)
    assert all(cell.kl >= 0 for cell in document.sensitivity.values())
    first = dict(document.sensitivity)
    window.session.client.ask(request)
    wait_for(window, qtbot, MeasureSensitivity)
    assert all(cell.cached for cell in document.sensitivity.values())
    assert {key: cell.kl for key, cell in first.items()} == {key: cell.kl for key, cell in document.sensitivity.items()}


def test_dropping_a_folder_opens_it(window: MainWindow, qtbot: QtBot) -> None:
    data = QMimeData()
    data.setUrls([QUrl.fromLocalFile(str(SAMPLE))])
    copy, left, none = Qt.DropAction.CopyAction, Qt.MouseButton.LeftButton, Qt.KeyboardModifier.NoModifier
    window.dropEvent(QDropEvent(QPointF(100, 100), copy, data, left, none))
    qtbot.waitUntil(lambda: window.session.document.checkpoint is not None, timeout=TIMEOUT_MS)


def test_a_broken_file_gives_a_card_and_keeps_what_was_open(window: MainWindow, qtbot: QtBot, tmp_path: Path) -> None:
    open_sample(window, qtbot)
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes((1 << 63).to_bytes(8, "little") + b"{}")
    window.opening.open(str(broken))
    qtbot.waitUntil(lambda: window.session.problems.count > 0, timeout=TIMEOUT_MS)
    assert window.session.document.checkpoint is not None
    assert window.session.document.checkpoint.path == str(SAMPLE)


def test_engine_killed_in_a_job_is_said_and_the_run_resumes(
    window: MainWindow, qtbot: QtBot, big_checkpoint: Path, tmp_path: Path
) -> None:
    document = window.session.document
    window.opening.open(str(big_checkpoint))
    qtbot.waitUntil(lambda: document.plan is not None, timeout=TIMEOUT_MS)
    choose(window, qtbot, "int4-g128-clip")
    press_run(window, qtbot)
    qtbot.waitUntil(lambda: len(last_job(window, Compress).layers) >= 2, timeout=TIMEOUT_MS)
    for child in psutil.Process().children(recursive=True):
        if "spawn_main" in " ".join(child.cmdline()):
            child.send_signal(signal.SIGKILL)
    qtbot.waitUntil(lambda: last_job(window, Compress).ended, timeout=TIMEOUT_MS)
    assert last_job(window, Compress).state == FAILED
    assert "signal 9" in str(last_job(window, Compress).failure)

    press_run(window, qtbot)
    job = wait_for(window, qtbot, Compress)
    assert any(layer.resumed for layer in job.layers)
    out = tmp_path / "resumed"
    window.work.ask_export("dense", str(out))
    wait_for(window, qtbot, Export)

    undisturbed = tmp_path / "undisturbed"
    command = [
        "compress",
        str(big_checkpoint),
        "--preset",
        "int4-g128-clip",
        "--to",
        "dense",
        "--out",
        str(undisturbed),
    ]
    assert run_command([*command, "--workspace", str(tmp_path / "other")]) == 0
    assert hashes(out) == hashes(undisturbed)


def test_pause_and_cancel_keep_finished_layers(window: MainWindow, qtbot: QtBot, big_checkpoint: Path) -> None:
    document = window.session.document
    window.opening.open(str(big_checkpoint))
    qtbot.waitUntil(lambda: document.plan is not None, timeout=TIMEOUT_MS)
    choose(window, qtbot, "int4-g128-clip")
    press_run(window, qtbot)
    qtbot.waitUntil(lambda: len(last_job(window, Compress).layers) >= 1, timeout=TIMEOUT_MS)
    window.session.jobs.toggle_pause()
    qtbot.waitUntil(lambda: last_job(window, Compress).state == "paused", timeout=TIMEOUT_MS)
    finished = len(last_job(window, Compress).layers)
    qtbot.wait(500)
    assert len(last_job(window, Compress).layers) <= finished + 1
    window.work.cancel()
    qtbot.waitUntil(lambda: last_job(window, Compress).state == STOPPED, timeout=TIMEOUT_MS)
    qtbot.waitUntil(lambda: bool(document.runs) and document.runs[0].state == "cancelled", timeout=TIMEOUT_MS)


def test_closing_while_a_job_runs_ends_the_engine(window: MainWindow, qtbot: QtBot, big_checkpoint: Path) -> None:
    document = window.session.document
    window.opening.open(str(big_checkpoint))
    qtbot.waitUntil(lambda: document.plan is not None, timeout=TIMEOUT_MS)
    choose(window, qtbot, "int4-g128-clip")
    press_run(window, qtbot)
    qtbot.waitUntil(lambda: len(last_job(window, Compress).layers) >= 1, timeout=TIMEOUT_MS)
    engines = [
        child for child in psutil.Process().children(recursive=True) if "spawn_main" in " ".join(child.cmdline())
    ]
    assert engines
    document.undo.setClean()
    assert window.close()
    _, alive = psutil.wait_procs(engines, timeout=5)
    assert not alive
    journal = next((Path(document.workspace) / "runs").glob("*/journal.jsonl"))
    assert json.loads(journal.read_text(encoding="utf-8").splitlines()[0])["result"]["name"]


@pytest.fixture(scope="module")
def big_checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Large enough that a person has time to pause: 12 layers of 4 M weights."""
    from safetensors.torch import save_file

    folder = tmp_path_factory.mktemp("big") / "model"
    folder.mkdir()
    generator = torch.Generator().manual_seed(0)
    save_file(
        {f"blocks.{i}.proj.weight": torch.randn(2048, 2048, generator=generator).bfloat16() for i in range(12)},
        folder / "model.safetensors",
    )
    return folder
