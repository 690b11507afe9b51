from dataclasses import replace

import numpy as np
import pytest

from benchvise.core.engine import planned
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.events import Failed, Finished, Partial, Started, Stopped
from benchvise.core.protocol.requests import Compress, KnownSensitivity, ListRuns, MakePlan, MeasureSensitivity, ReadRun
from benchvise.core.protocol.results import (
    Allocated,
    Alternatives,
    Estimate,
    Front,
    LayerCompressed,
    Run,
    RunContent,
    RunList,
    RunSummary,
    Sensitivity,
    SensitivityCell,
)
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.workspace.run_record import RunRecord
from benchvise.core.workspace.workspace import Workspace

INT4 = Treatment(Integer(bits=4, group_size=32))
INT8 = Treatment(Integer(bits=8, group_size=32))


def test_layers_arrive_in_parts(opened, checkpoint):
    assert opened.checkpoint == checkpoint
    assert opened.plan_is_current
    assert opened.plan.total_before == checkpoint.nbytes


def test_an_edit_of_many_layers_is_one_step_with_a_title(opened, client, checkpoint, qtbot):
    opened.treat((2, 3), (INT4, INT4), "Set bits to 4 on 2 layers")
    assert opened.treatment_of(2) == INT4
    assert opened.treatment_of(4) == KEEP
    assert opened.undo.undoText() == "Set bits to 4 on 2 layers"
    assert not opened.plan_is_current
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 2)
    client.plan(checkpoint)
    assert opened.plan.tags[opened.plan.choice[2]] == "int4 g32"
    opened.undo.undo()
    assert opened.recipe.rules == ()
    opened.undo.redo()
    assert opened.treatment_of(3) == INT4


def test_dragging_a_slider_is_one_step(opened):
    for bits in (5, 6, 7):
        treatment = Treatment(Integer(bits=bits, group_size=32))
        opened.treat((2,), (treatment,), f"Set bits to {bits} on 1 layer", merge_key="bits 2")
    assert opened.undo.count() == 1
    assert opened.undo.undoText() == "Set bits to 7 on 1 layer"
    opened.undo.undo()
    assert opened.treatment_of(2) == KEEP


def test_edits_of_other_fields_or_layers_do_not_merge(opened):
    opened.treat((2,), (INT4,), "a", merge_key="bits 2")
    opened.treat((3,), (INT4,), "b", merge_key="bits 3")
    opened.treat((3,), (INT8,), "c")
    assert opened.undo.count() == 3


def test_quick_edits_ask_for_one_plan(opened, client, qtbot):
    asked = len(client.numbers(MakePlan))
    for bits in (2, 3, 4):
        opened.treat((2,), (Treatment(Integer(bits=bits, group_size=32)),), "x")
    qtbot.wait(200)
    assert len(client.numbers(MakePlan)) == asked + 1


def test_the_answer_to_an_old_recipe_is_not_shown(opened, client, checkpoint, qtbot):
    from benchvise.core.engine import planned
    from benchvise.core.recipe.plan import make_plan

    opened.treat((2,), (INT4,), "x")
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 2)
    first = client.last(MakePlan)
    opened.treat((2,), (INT8,), "y")
    stale = planned(make_plan(checkpoint, client.requests[first].recipe))
    client.say(Finished(first, stale))
    assert opened.plan.total_after != stale.total_after


def test_a_refused_plan_is_kept_as_problem_until_the_next(opened, client, checkpoint, qtbot):
    opened.treat((2,), (Treatment(Integer(group_size=33)),), "x")
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 2)
    client.say(Failed(client.last(MakePlan), "The group does not divide", "q", "Use 32"))
    assert opened.plan_problem.what == "The group does not divide"
    opened.undo.undo()
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 3)
    client.plan(checkpoint)
    assert opened.plan_problem is None


def measurement(opened, text="", method="enable_one"):
    treatments = (Treatment(Integer(group_size=32)),)
    return MeasureSensitivity(opened.checkpoint.path, text, treatments, method=method)


def test_sensitivity_is_taken_from_parts_and_from_the_end(opened, client):
    number = client.ask(measurement(opened))
    client.say(Partial(number, SensitivityCell("a", "int4 g32", 0.1, key="k4")))
    assert opened.sensitivity[("a", "k4")].kl == 0.1
    assert opened.measurement is None
    cells = (SensitivityCell("b", "int4 g32", 0.2, key="k4"),)
    client.say(Finished(number, Sensitivity(cells, 128, 1.0, key="k")))
    assert len(opened.sensitivity) == 2
    assert opened.measurement.sensitivity.key == "k"
    assert opened.measurement.treatments == (Treatment(Integer(group_size=32)),)


def test_a_forecast_does_not_replace_what_was_measured_and_another_text_starts_anew(opened, client):
    client.say(Partial(client.ask(measurement(opened)), SensitivityCell("a", "int4 g32", 0.1, key="k4")))
    number = client.ask(measurement(opened, method="fisher"))
    client.say(Partial(number, SensitivityCell("a", "int4 g32", 0.3, method="fisher", key="k4")))
    client.say(Partial(number, SensitivityCell("b", "int4 g32", 0.3, method="fisher", key="k4")))
    assert {name: cell.method for (name, _), cell in opened.sensitivity.items()} == {"a": "enable_one", "b": "fisher"}
    client.ask(measurement(opened, text="other.txt"))
    assert not opened.sensitivity
    elsewhere = client.ask(MeasureSensitivity("/another/model", "", ()))
    client.say(Partial(elsewhere, SensitivityCell("a", "int4 g32", 9.0, key="k4")))
    assert not opened.sensitivity


def kept(*layers):
    cells = tuple(SensitivityCell(name, INT4.tag, 0.1, cached=True, key=INT4.key) for name in layers)
    return Sensitivity(cells, 512, 0.0, key="kept", treatments=(INT4,), asked=("", 4, 128))


def test_what_the_workspace_keeps_is_shown_after_opening(opened, client, qtbot):
    number = client.last(KnownSensitivity)
    assert client.requests[number] == KnownSensitivity(opened.checkpoint.path, opened.workspace)
    with qtbot.waitSignal(opened.sensitivity_changed):
        client.say(Finished(number, kept("a")))
    assert opened.sensitivity["a", INT4.key].kl == 0.1
    assert (opened.measurement.sensitivity.key, opened.measurement.treatments) == ("kept", (INT4,))
    assert not opened.measuring
    client.ask(measurement(opened))
    assert opened.sensitivity
    client.ask(measurement(opened, text="other.txt"))
    assert not opened.sensitivity


def test_what_is_kept_of_a_checkpoint_that_was_left_is_not_shown(opened, client, checkpoint):
    number = client.last(KnownSensitivity)
    client.open(opened, replace(checkpoint, path="/models/other"))
    client.say(Finished(number, kept("a")))
    assert not opened.sensitivity
    number = client.last(KnownSensitivity)
    client.ask(measurement(opened))
    client.say(Finished(number, kept("a")))
    assert not opened.sensitivity


def allocation(opened, treatment):
    recipe = treat(opened.recipe, opened.checkpoint.layers[2:4], [treatment] * 2)
    planned_ = planned(make_plan(opened.checkpoint, recipe))
    none = Alternatives(np.full(2, -1, np.int32), np.zeros(2), np.zeros(2))
    names = tuple(layer.name for layer in opened.checkpoint.layers[2:4])
    front = Front("bytes", np.array([1.0]), np.array([0.1]))
    return Allocated(
        names, (treatment.tag,), (treatment.key,), np.zeros(2, np.int32), recipe, planned_,
        Estimate(0.1, 0.05, 0.2), 4.0, 1e-9,
        np.full(2, 0.05), front, none, none,
    )  # fmt: skip


def test_an_allocation_brings_its_plan_and_merges_into_one_step(opened, client, qtbot):
    asked = len(client.numbers(MakePlan))
    steps = opened.undo.count()
    for bits in (4, 3):
        found = allocation(opened, Treatment(Integer(bits=bits, group_size=32)))
        opened.put_allocation(found, f"Budget {bits}", merge_key="budget")
        assert opened.plan_is_current
        assert opened.predicted_kl.value == 0.1
    assert opened.undo.count() == steps + 1
    assert opened.plan.total_after < opened.plan.total_before
    qtbot.wait(100)
    assert len(client.numbers(MakePlan)) == asked
    opened.undo.undo()
    assert opened.predicted_kl is None
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == asked + 1)


def test_locks_and_trials_end_with_what_they_belong_to(opened, qtbot):
    opened.lock(["model.layers.0.attn.q_proj"], locked=True)
    opened.select((2,))
    opened.try_out(Treatment(Integer(bits=2)))
    with qtbot.waitSignal(opened.trial_changed):
        opened.select((3,))
    assert opened.trial is None
    opened.close_checkpoint()
    assert not opened.locked


def test_a_finished_run_becomes_the_active_one(opened, client):
    run = Run("r1", opened.checkpoint.path, "", 4.0, 4.0, 2, 1, (), 1.0, 1)
    number = client.ask(Compress(opened.checkpoint.path, opened.recipe))
    client.say(Finished(number, run))
    assert opened.active_run == "r1"
    assert not opened.active_run_is_current()


def test_opening_another_checkpoint_starts_afresh(opened, client, checkpoint):
    opened.set_recipe(load_preset("int8-channel"), "Preset")
    opened.select((3,))
    client.open(opened, replace(checkpoint, path="/models/other"))
    assert opened.checkpoint.path == "/models/other"
    assert opened.selection == ()
    assert not opened.modified
    assert opened.undo.count() == 0


def test_patterns_of_a_recipe_are_resolved_as_the_plan_does(opened, checkpoint):
    from benchvise.core.recipe.plan import make_plan

    for name in ("int4-mlp-int8-attention", "magnitude-50", "int8-channel"):
        recipe = load_preset(name)
        opened.set_recipe(recipe, name)
        plan = make_plan(checkpoint, recipe)
        for index, number in enumerate(plan.rules):
            wanted = recipe.rules[number].treatment if number >= 0 else KEEP
            assert opened.treatment_of(index) == wanted


def finished_layer(name, sqnr_db=20.0):
    return LayerCompressed(name, "int4 g32", sqnr_db, 0.1, 0, 100, 50, 4.0, 1.0)


def tell_runs(client, *runs):
    """The engine lists these runs: (name, checkpoint, state), the newest first."""
    summaries = tuple(RunSummary(run, path, "", "", state, 4.0, 2, 1, 1.0) for run, path, state in runs)
    client.say(Finished(client.last(ListRuns), RunList("", summaries)))


def test_the_newest_finished_run_of_a_model_is_active_once_it_is_opened(document, client, checkpoint):
    other, own = "/models/other", checkpoint.path
    runs = (("e", own, "stopped"), ("d", other, "done"), ("c", own, "done"), ("b", own, "done"))
    document.refresh_runs()
    tell_runs(client, *runs)
    assert document.active_run == ""
    client.open(document, checkpoint)
    assert document.active_run == "c"
    document.set_active_run("b")
    document.refresh_runs()
    tell_runs(client, *runs)
    assert document.active_run == "b"
    client.open(document, replace(checkpoint, path="/models/new"))
    assert document.active_run == ""
    document.refresh_runs()
    tell_runs(client, ("f", "/models/new", "done"))
    assert document.active_run == "f"


def test_a_cancelled_run_is_listed_at_once(opened, client, qtbot):
    number = client.ask(Compress(opened.checkpoint.path, opened.recipe))
    client.say(Started(number))
    client.say(Stopped(number))
    with qtbot.waitSignal(opened.runs_changed):
        tell_runs(client, ("a", opened.checkpoint.path, "stopped"))
    assert [run.run for run in opened.runs] == ["a"]


def test_the_list_of_runs_stays_until_the_newest_answer(document, client):
    document.refresh_runs()
    tell_runs(client, ("a", "/m", "done"))
    document.refresh_runs()
    document.refresh_runs()
    document.refresh_runs()
    assert [run.run for run in document.runs] == ["a"]
    tell_runs(client, ("b", "/m", "done"), ("a", "/m", "done"))
    assert len(client.numbers(ListRuns)) == 3
    tell_runs(client, ("c", "/m", "done"))
    assert [run.run for run in document.runs] == ["c"]
    document.refresh_runs()
    client.say(Failed(client.last(ListRuns), "The workspace cannot be read", "", ""))
    assert [run.run for run in document.runs] == ["c"]


def test_a_run_is_read_by_the_engine_and_no_file_by_the_window(opened, client, qtbot, monkeypatch):
    """Every way into the workspace's run folders fails here."""

    def refuse(*_):
        pytest.fail("the window read a run's folder")

    for name in ("runs", "run", "records"):
        monkeypatch.setattr(Workspace, name, refuse)
    monkeypatch.setattr(RunRecord, "__init__", refuse)
    opened.refresh_runs()
    tell_runs(client, ("a", opened.checkpoint.path, "done"))
    assert opened.active_run == "a"
    assert not opened.active_run_is_current()
    assert opened.changed_since_run() is None
    done = finished_layer(opened.checkpoint.layers[1].name)
    asked = client.last(ReadRun)
    assert client.requests[asked] == ReadRun("a", opened.workspace)
    with qtbot.waitSignal(opened.active_run_read):
        client.say(Finished(asked, RunContent("a", opened.recipe, (done,))))
    assert opened.results == {done.name: done}
    assert opened.active_run_is_current()
    assert opened.changed_since_run().sum() == 1
    opened.set_active_run("")
    opened.set_active_run("a")
    assert opened.results == {done.name: done}
    assert client.last(ReadRun) == asked


def test_the_content_of_a_run_left_meanwhile_is_not_shown(opened, client):
    opened.set_active_run("a")
    first = client.last(ReadRun)
    opened.set_active_run("b")
    assert (first, "cancel") in client.controls
    client.say(Finished(first, RunContent("a", opened.recipe, (finished_layer("x"),))))
    assert opened.results == {}
    client.say(Failed(client.last(ReadRun), "There is no run 'b'", "", ""))
    assert opened.results == {}


def test_a_run_that_just_ended_is_known_without_being_read(opened, client):
    number = client.ask(Compress(opened.checkpoint.path, opened.recipe, opened.workspace))
    client.say(Started(number))
    done = finished_layer(opened.checkpoint.layers[1].name)
    client.say(Finished(number, Run("r1", opened.checkpoint.path, "", 4.0, 4.0, 2, 1, (done,), 1.0, 1)))
    assert opened.active_run_is_current()
    assert opened.results == {done.name: done}
    assert not client.numbers(ReadRun)


def test_another_workspace_starts_with_no_runs(opened, client, tmp_path):
    opened.refresh_runs()
    tell_runs(client, ("a", opened.checkpoint.path, "done"))
    opened.refresh_runs()
    stale = client.last(ListRuns)
    opened.set_workspace(str(tmp_path / "other"))
    assert (opened.runs, opened.active_run) == ((), "")
    client.say(Finished(stale, RunList("", (RunSummary("a", "/m", "", "", "done", 4.0, 2, 1, 1.0),))))
    assert opened.runs == ()
    assert client.requests[client.last(ListRuns)] == ListRuns(str(tmp_path / "other"))


def test_another_workspace_shows_what_it_keeps(opened, client, tmp_path):
    client.say(Finished(client.last(KnownSensitivity), kept("a")))
    opened.set_workspace(str(tmp_path / "other"))
    assert not opened.sensitivity
    assert opened.measurement is None
    number = client.last(KnownSensitivity)
    assert client.requests[number] == KnownSensitivity(opened.checkpoint.path, str(tmp_path / "other"))
    client.say(Finished(number, kept("b")))
    assert set(opened.sensitivity) == {("b", INT4.key)}


def test_results_grow_while_a_run_of_this_checkpoint_goes_on(opened, client, checkpoint):
    number = client.ask(Compress(checkpoint.path, opened.recipe))
    client.say(Partial(number, finished_layer("a")))
    client.say(Started(number))
    assert opened.results == {}
    client.say(Partial(number, finished_layer("a")))
    client.say(Partial(number, finished_layer("b", 30.0)))
    assert [layer.sqnr_db for layer in opened.results.values()] == [20.0, 30.0]
    elsewhere = client.ask(Compress("/another", opened.recipe))
    client.say(Partial(elsewhere, finished_layer("c")))
    assert set(opened.results) == {"a", "b"}
    opened.close_checkpoint()
    assert opened.results == {}
