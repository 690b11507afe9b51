"""Runs and measurements as they lie in a workspace."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import OutputError, UserError
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.results import Evaluation, Exported, Latency, LayerCompressed, Timing
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.workspace import workspace as workspace_module
from benchvise.core.workspace.workspace import Workspace, plan_title

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
RECIPE = Recipe((Rule(("linears",), Treatment(Integer(bits=4, granularity="channel"))),), name="four")
LAYER = LayerCompressed("a", "int4 channel", 20.0, 0.1, 0, 400, 104, 4.125, 0.5)


@pytest.fixture(scope="module")
def plan() -> Plan:
    return make_plan(open_checkpoint(SAMPLE), RECIPE)


def other(plan: Plan) -> Plan:
    recipe = Recipe((Rule(("linears",), Treatment(Integer(bits=5, granularity="channel"))),))
    return make_plan(plan.checkpoint, recipe)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(str(tmp_path / "workspace"))


def test_looking_creates_nothing(workspace: Workspace, plan: Plan) -> None:
    assert workspace.runs() == ()
    assert workspace.resumable(plan) is None
    assert not workspace.path.exists()


def test_a_run_is_found_by_its_id(workspace: Workspace, plan: Plan) -> None:
    made = workspace.new_run(plan)
    for name in (made.id, f"run:{made.id}"):
        found = workspace.run(name)
        assert (found.manifest, found.recipe, found.checkpoint_path) == (made.manifest, RECIPE, str(SAMPLE))
    for name in ("", "run:", "nothing", "..", "../runs", f"../runs/{made.id}", "."):
        with pytest.raises(UserError, match="There is no run"):
            workspace.run(name)


def test_newest_runs_come_first(workspace: Workspace, plan: Plan) -> None:
    made = [workspace.new_run(plan) for _ in range(3)]
    for number, run in enumerate(made):
        run.update(created=f"2030-01-0{number + 1}T00:00:00+00:00", state="done")
    assert [run.run for run in workspace.runs()] == [run.id for run in reversed(made)]
    assert {run.state for run in workspace.runs()} == {"done"}


def test_a_run_without_a_name_is_called_after_its_treatments(plan: Plan) -> None:
    assert plan_title(plan) == "int4 channel"
    rules = tuple(
        Rule((f"depth:{depth}",), Treatment(Integer(bits=bits, granularity="channel")))
        for depth, bits in enumerate((2, 3, 4, 5))
    )
    assert plan_title(make_plan(plan.checkpoint, Recipe(rules))).endswith(" + …")


def test_states_follow_the_process(workspace: Workspace, plan: Plan) -> None:
    run = workspace.new_run(plan)
    assert run.state == "running"
    assert workspace.resumable(plan) is None, "this process is working on it"
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = psutil.Process(child.pid).create_time()
    run.update(pid=child.pid, started=started)
    assert workspace.run(run.id).state == "running"
    child.kill()
    assert run.state in ("running", "interrupted")  # until the system has noticed
    child.communicate()
    assert workspace.run(run.id).state == "interrupted"
    run.update(pid=os.getpid(), started=started - 1000)
    assert workspace.run(run.id).state == "interrupted", "the number is another process's by now"


def test_what_can_be_resumed(workspace: Workspace, plan: Plan) -> None:
    first, second = workspace.new_run(plan), workspace.new_run(plan)
    first.update(state="failed", created="2030-01-01")
    second.update(state="cancelled", created="2030-01-02")
    found = workspace.resumable(plan)
    assert found is not None
    assert found.id == second.id
    assert workspace.resumable(other(plan)) is None
    renamed = replace(plan, recipe=replace(RECIPE, name="other name"))
    assert workspace.resumable(renamed) is not None, "a name changes nothing"


def test_damaged_runs_hide_no_others_and_are_logged_once(
    workspace: Workspace, plan: Plan, caplog: pytest.LogCaptureFixture
) -> None:
    sound, *damaged = (workspace.new_run(plan) for _ in range(5))
    (damaged[0].folder / "run.json").write_text('{"run": ')
    (damaged[1].folder / "run.json").write_text('{"unknown": 1, "warnings": []}')
    (damaged[2].folder / "run.json").unlink()
    (damaged[3].folder / "measurements.json").write_text("half")
    (workspace.path / "runs" / "stray file").write_text("")
    for _ in range(2):
        assert [run.run for run in workspace.runs()] == [sound.id]
    assert [str(damaged[place].folder) in caplog.text for place in (0, 1, 2, 3)] == [True, True, False, True]
    assert len(caplog.records) == 3
    with pytest.raises(UserError, match="cannot be read"):
        workspace.run(damaged[0].id)
    with pytest.raises(UserError, match="measurements"):
        workspace.run(damaged[3].id).summary()


def test_a_run_that_cannot_begin_leaves_nothing(
    workspace: Workspace, plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OutputError("The disk is full")

    monkeypatch.setattr(workspace_module, "write_manifest", full)
    with pytest.raises(OutputError):
        workspace.new_run(plan)
    assert not list((workspace.path / "runs").iterdir())


def test_odd_names_survive(workspace: Workspace, plan: Plan) -> None:
    """Paths may hold bytes that are no text, and safetensors names lone surrogates."""
    run = workspace.new_run(plan)
    run.update(checkpoint="/tmp/\udcff/mödel")
    run.append("key", replace(LAYER, name="\ud800 ö"), "00")
    found = workspace.run(run.id)
    assert found.checkpoint_path == "/tmp/\udcff/mödel"
    assert found.journal()[0].result.name == "\ud800 ö"


def test_the_last_entry_of_a_layer_counts(workspace: Workspace, plan: Plan) -> None:
    run = workspace.new_run(plan)
    for key, name in (("11", "a"), ("22", "b"), ("33", "a")):
        run.append(key, replace(LAYER, name=name), "00")
    assert [(entry.key, entry.result.name) for entry in run.journal()] == [("33", "a"), ("22", "b")]
    assert run.layer_files["a"] == workspace.layers / "33" / "33.safetensors"
    assert [layer.name for layer in run.result.layers] == ["a", "b"]


def test_measurements_show_in_the_summary(workspace: Workspace, plan: Plan) -> None:
    run = workspace.new_run(plan)
    evaluation = Evaluation(
        "run", 7.5, 100, 1000, 2000, 1.0, kl_mean=0.01, kl_p99=0.2, top1_agreement=0.9, perplexity_against=7.0
    )
    timing = Timing(2.0, 1.5, 3.0, 1000, (("int4", 7),), peak_bytes=1500)
    latency = Latency("run", "CPU", 2, 32, 32, timing, replace(timing, median_ms=4.0, peak_bytes=6000), 2.0)
    for result in (replace(evaluation, perplexity=99.0), evaluation, latency):
        workspace.record_measurement(f"run:{run.id}", result)
    for out in ("/one", "/two"):
        workspace.record_measurement(run.id, Exported(out, "dense", 10, ("model.safetensors",)))
    (found,) = workspace.runs()
    assert (found.perplexity, found.perplexity_before, found.kl_mean, found.kl_p99) == (7.5, 7.0, 0.01, 0.2)
    assert (found.top1_agreement, found.peak_rss_bytes) == (0.9, 2000)
    assert (found.decode_ms, found.decode_ms_before, found.speed_up) == (2.0, 4.0, 2.0)
    assert (found.decode_peak_bytes, found.decode_peak_bytes_before) == (1500, 6000)
    assert found.exports == ("/one", "/two")
    assert (found.run, found.recipe_name, found.bytes_after) == (run.id, "four", plan.bytes_after)
    assert json.loads((run.folder / "measurements.json").read_text())["latency"]["device"] == "CPU"
    with pytest.raises(UserError, match="There is no run"):
        workspace.record_measurement("gone", evaluation)


def test_rooms_for_other_results_are_made(workspace: Workspace) -> None:
    for path in (workspace.sensitivity_file("key"), workspace.profile_file()):
        assert path.parent.is_dir()
        assert not path.exists()
