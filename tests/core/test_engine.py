"""One function answers every request; here what it adds to the rooms behind it."""

from __future__ import annotations

import shutil
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any, get_args

import pytest
from safetensors.torch import load_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.engine import _HANDLERS, LAYERS_PER_PART, _in, answer
from benchvise.core.engine_process import Lane, lane_of
from benchvise.core.errors import Cancelled, OutputError, UserError
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol import requests, results
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from benchvise.core.workspace.workspace import Workspace

SAMPLE = str(Path(__file__).parents[2] / "resources" / "sample")
RECIPE = Recipe((Rule(("linears",), Treatment(Integer(bits=8, granularity="channel"))),), name="int8")
SILENT = NullProgress()


class Parts(NullProgress):
    def __init__(self) -> None:
        self.records: list[object] = []

    def result(self, record: object) -> None:
        self.records.append(record)


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def run(workspace: str, tmp_path_factory: pytest.TempPathFactory) -> results.Run:
    out = tmp_path_factory.mktemp("outputs") / "packed"
    found = answer(requests.Compress(SAMPLE, RECIPE, workspace, str(out)), SILENT)
    assert isinstance(found, results.Run)
    return found


def test_layers_come_before_the_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LAYERS_PER_PART >= 100
    monkeypatch.setattr("benchvise.core.engine.LAYERS_PER_PART", 7)
    parts = Parts()
    opened = answer(requests.Open(SAMPLE), parts)
    assert isinstance(opened, results.Opened)
    layers = tuple(layer for part in parts.records if isinstance(part, results.LayersOpened) for layer in part.layers)
    assert replace(opened.checkpoint, layers=layers) == open_checkpoint(SAMPLE)
    assert len(parts.records) == -(-len(layers) // 7)


def test_plans_come_in_columns() -> None:
    planned = answer(requests.MakePlan(SAMPLE, RECIPE), SILENT)
    plan = make_plan(open_checkpoint(SAMPLE), RECIPE)
    assert isinstance(planned, results.Planned)
    assert [planned.tags[choice] for choice in planned.choice] == [row.treatment.tag for row in plan.rows()]
    assert planned.bytes_after.tolist() == [row.bytes_after for row in plan.rows()]
    assert planned.rules.tolist() == [-1 if row.rule is None else row.rule for row in plan.rows()]
    assert (planned.total_before, planned.total_after) == (plan.bytes_before, plan.bytes_after)
    assert planned.treated_layers == 35


def test_a_plan_says_what_its_export_will_change() -> None:
    recipe = Recipe(
        (
            Rule(("linears",), Treatment(Integer(bits=4, symmetric=False, granularity="channel"))),
            Rule(("embeddings",), Treatment(Integer(bits=8, granularity="channel"))),
        )
    )
    planned = answer(requests.MakePlan(SAMPLE, recipe), SILENT)
    assert isinstance(planned, results.Planned)
    tied, wider = sentences(planned.warnings)
    assert "model.embed_tokens" in tied
    assert "written dense" in tied
    assert "35 int4 channel asym layers are written with 5-bit symmetric codes" in wider


def test_an_editor_starts_with_an_empty_recipe() -> None:
    planned = answer(requests.MakePlan(SAMPLE, Recipe()), SILENT)
    assert isinstance(planned, results.Planned)
    assert planned.treated_layers == 0
    assert planned.total_before == planned.total_after


def test_compress_writes_the_export_too(run: results.Run, workspace: str) -> None:
    assert (Path(run.out).name, run.target) == ("packed", "compressed-tensors")
    exported, compressed = open_weights(run.out), open_weights(f"run:{run.run}", workspace)
    packed = load_file(Path(run.out) / "model.safetensors")
    assert any(name.endswith("weight_packed") for name in packed)
    for layer in compressed.checkpoint.layers:
        assert exported.dense(exported.checkpoint.layer(layer.name)).equal(compressed.dense(layer)), layer.name
    assert Workspace(workspace).runs()[0].exports == (run.out,)


def test_runs_are_listed_and_read(run: results.Run, workspace: str, tmp_path: Path) -> None:
    listed = answer(requests.ListRuns(workspace), SILENT)
    assert isinstance(listed, results.RunList)
    assert listed.workspace == workspace
    assert [(each.run, each.state) for each in listed.runs] == [(run.run, "done")]
    content = answer(requests.ReadRun(run.run, workspace), SILENT)
    assert isinstance(content, results.RunContent)
    assert (content.run, content.recipe) == (run.run, RECIPE)
    assert content.layers == run.layers
    assert len(content.layers) == 35
    assert answer(requests.ListRuns(str(tmp_path)), SILENT) == results.RunList(str(tmp_path), ())
    with pytest.raises(UserError, match="no run 'unknown'"):
        answer(requests.ReadRun("unknown", workspace), SILENT)


@pytest.mark.parametrize("killed_at", ["first output", "second output", "end"])
def test_a_resumed_job_takes_its_own_whole_outputs(
    killed_at: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, dense = tmp_path / "packed", tmp_path / "dense"
    request = requests.Compress(SAMPLE, RECIPE, str(tmp_path / "workspace"), str(out), dense=str(dense))
    if killed_at == "end":
        answer(request, SILENT)
    else:
        keep, left = Workspace.record_measurement, ["first output", "second output"].index(killed_at)

        def recorded(self: Workspace, *arguments: Any) -> None:
            nonlocal left
            left -= 1
            if left < 0:
                raise KeyboardInterrupt
            keep(self, *arguments)

        with monkeypatch.context() as patch:
            patch.setattr(Workspace, "record_measurement", recorded)
            with pytest.raises(KeyboardInterrupt):
                answer(request, SILENT)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    assert before
    with pytest.raises(OutputError, match="exists"):
        answer(request, SILENT)
    found = answer(replace(request, resume=True), SILENT)
    assert isinstance(found, results.Run)
    assert (found.out, found.target, found.dense) == (str(out), "compressed-tensors", str(dense))
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    assert Workspace(request.workspace).run(found.run).summary().exports == (str(out), str(dense))


@pytest.mark.parametrize("change", ["weights", "config", "missing", "other run"])
def test_an_output_that_is_not_the_whole_of_the_run_is_refused(
    change: str, run: results.Run, workspace: str, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    shutil.copytree(run.out, out)
    weights, config, provenance = out / "model.safetensors", out / "config.json", out / "benchvise" / "run.json"
    if change == "weights":
        content = weights.read_bytes()
        middle = len(content) // 2
        weights.write_bytes(content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :])
    elif change == "config":
        config.write_text(config.read_text() + " ")
    elif change == "missing":
        weights.unlink()
    else:
        provenance.write_text(provenance.read_text().replace(run.run, "20260101-000000-000000"))
    with pytest.raises(OutputError, match="exists"):
        answer(requests.Compress(SAMPLE, RECIPE, workspace, str(out), resume=True), SILENT)


def test_an_export_is_kept_once_with_its_run(run: results.Run, workspace: str, tmp_path: Path) -> None:
    dense = answer(requests.Export(run.run, "dense", str(tmp_path / "dense"), workspace), SILENT)
    assert isinstance(dense, results.Exported)
    assert Workspace(workspace).runs()[0].exports == (run.out, dense.out)


@pytest.mark.parametrize(
    ("out", "target", "recipe"),
    [
        ("taken", "auto", RECIPE),
        ("free", "gguff", RECIPE),
        ("free", "compressed-tensors", load_preset("magnitude-50")),
    ],
)
def test_outputs_that_cannot_be_are_refused_before_the_work(
    out: str, target: str, recipe: Recipe, tmp_path: Path
) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "file").touch()
    request = requests.Compress(SAMPLE, recipe, str(tmp_path / "workspace"), str(tmp_path / out), target)
    with pytest.raises(OutputError):
        answer(request, SILENT)
    assert not (tmp_path / "workspace").exists()


def test_measurements_are_kept_with_their_run(run: results.Run, workspace: str) -> None:
    request = requests.Evaluate(f"run:{run.run}", "", SAMPLE, windows=2, window_tokens=32, workspace=workspace)
    evaluation = answer(request, SILENT)
    assert isinstance(evaluation, results.Evaluation)
    summary = Workspace(workspace).runs()[0]
    assert (summary.perplexity, summary.kl_mean) == (evaluation.perplexity, evaluation.kl_mean)
    assert summary.perplexity_before == evaluation.perplexity_against


def test_every_request_is_answered_and_has_a_lane() -> None:
    kinds = get_args(requests.Request)
    assert set(_HANDLERS) == set(kinds)
    lanes = {kind: lane_of(kind.__new__(kind)) for kind in kinds}
    assert {kind for kind, lane in lanes.items() if lane is Lane.JOBS} == set(requests.JOBS)
    quick = {
        requests.Open,
        requests.MakePlan,
        requests.Allocate,
        requests.SizeCandidates,
        requests.KnownSensitivity,
        requests.ListRuns,
        requests.ReadRun,
    }
    assert {kind for kind, lane in lanes.items() if lane is Lane.QUICK} == quick
    assert lanes[requests.CheckRecipe] is Lane.CHECKS


def test_rooms_are_imported_one_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rooms that import torch by different doors at once would meet half-made modules."""
    lines = ["import time", "began = time.monotonic()", "time.sleep(0.1)", "ended = time.monotonic()"]
    names = ("slow_room_a", "slow_room_b")
    for name in names:
        (tmp_path / f"{name}.py").write_text("\n".join([*lines, "def handle(request, progress): return began, ended"]))
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.syspath_prepend(str(tmp_path))
    together = threading.Barrier(2)

    def imported(name: str) -> Any:
        together.wait()
        return _in(name, "handle")(requests.WarmUp(), SILENT)

    with ThreadPoolExecutor(2) as threads:
        (_, first), (second, _) = sorted(threads.map(imported, names))
    assert first <= second


class Impatient(NullProgress):
    def check_cancelled(self) -> None:
        raise Cancelled


def test_a_job_can_be_cancelled_while_a_what_if_holds_the_memory() -> None:
    from benchvise.core.sensitivity import what_if

    with ThreadPoolExecutor(1) as threads:
        what_if._RESIDENT.lock.acquire()
        try:
            with pytest.raises(Cancelled):
                threads.submit(what_if.forget_loaded, Impatient()).result(timeout=10)
        finally:
            what_if._RESIDENT.lock.release()
        threads.submit(what_if.forget_loaded, Impatient()).result(timeout=10)


def test_a_missing_run_is_told(workspace: str) -> None:
    with pytest.raises(UserError, match="no run 'nothing'"):
        answer(requests.Export("run:nothing", "dense", "out", workspace), SILENT)


def test_the_engine_says_what_it_runs_on() -> None:
    ready = answer(requests.WarmUp(), SILENT)
    assert isinstance(ready, results.Ready)
    assert ready.device
    assert ready.threads >= 1
