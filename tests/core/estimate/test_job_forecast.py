"""What a job will take: counted as the job really goes, tried out with its own code, corrected by past runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest
from torch import nn

from benchvise.core.blockwise.batching import Batching
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.estimate import block_benchmark, reading_text, tried_blocks
from benchvise.core.estimate.block_benchmark import STEPS, StepTimer, affordable
from benchvise.core.estimate.block_kinds import MAX_KINDS
from benchvise.core.estimate.cost_model import learning_seconds
from benchvise.core.estimate.job_forecast import forecast_job, way_of
from benchvise.core.estimate.polish_benchmark import OPTIMISER_COPIES
from benchvise.core.estimate.rates import BlockRates
from benchvise.core.estimate.workload import Calibrating, held_streams, learning_of, streams_of, tuning_workload
from benchvise.core.evaluate import forward
from benchvise.core.job.job import compress
from benchvise.core.methods.distil import Distil
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.solver import Solver
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, ForecastJob
from benchvise.core.protocol.results import Estimate, JobForecast
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.solvers import learned_rounding
from benchvise.core.solvers.learned_rounding import probes
from benchvise.core.tuning import reference
from benchvise.core.tuning.polished_network import PolishedNetwork
from benchvise.core.tuning.registry import TRAINEES
from benchvise.core.tuning.trained_part import TrainedPart
from benchvise.core.tuning.trainee import Trainee
from benchvise.core.weights.weights import RunWeights
from benchvise.core.workspace.workspace import Workspace
from tests.core.blockwise.calibrated_models import recipe, tiny
from tests.core.job.compress_samples import MIXED, network

SILENT = NullProgress()
LEARNED = LearnedRounding(steps=40, batch_windows=4)


@pytest.fixture(scope="module")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("models") / "llama")


class Passed:
    """How many windows real batches pushed, whoever asked for it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.windows = 0
        run = Batching.run

        def counted(batching: Batching, windows: int, compute: object, take: object) -> None:
            self.windows += windows
            run(batching, windows, compute, take)  # type: ignore[arg-type]

        monkeypatch.setattr(Batching, "run", counted)


@pytest.mark.parametrize(
    ("solver", "inputs", "transforms"),
    [
        (ErrorFeedback(), "compressed", ()),
        (ErrorFeedback(), "original", ()),
        (LEARNED, "compressed", ()),
        (ErrorFeedback(original_target=0.0), "compressed", (Scale(steps=2),)),
    ],
)
def test_passes_are_those_of_the_job(
    solver: Solver, inputs: str, transforms: tuple[Scale, ...], llama: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked = recipe(solver, inputs=inputs, windows=6, transforms=transforms)
    plan = make_plan(open_checkpoint(str(llama)), asked)
    told: list[BlockRates] = []
    block = block_benchmark.BlockBenchmark.block

    def noted(self: block_benchmark.BlockBenchmark, *args: object) -> BlockRates:
        told.append(block(self, *args))  # type: ignore[arg-type]
        return told[-1]

    monkeypatch.setattr(block_benchmark.BlockBenchmark, "block", noted)
    forecast_job(ForecastJob(str(llama), asked, workspace=str(tmp_path)), SILENT)
    passed = Passed(monkeypatch)
    compress(Compress(str(llama), asked, workspace=str(tmp_path)), SILENT)
    streams = streams_of(plan, learns=True)
    (found,) = told
    # Each stream enters once; three blocks; what leaves the last is not needed: where inputs are the compressed
    # network's that saves the way from the last hook to the end, where they are the original's one pass serves all.
    spared = 0 if inputs == "original" else 1
    assert passed.windows == 6 * (streams + 3 * found.passes - spared)


def test_steps_and_looks_are_those_of_the_job(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe(LEARNED, windows=20)
    looks: list[int] = []
    steps: list[int] = []
    probe, loss = learned_rounding._Block.probe, learned_rounding._Block.loss

    def looked(self: learned_rounding._Block) -> float:
        before = len(steps)
        found = probe(self)
        looks.append(sum(steps[before:]))
        del steps[before:]
        return found

    def stepped(self: learned_rounding._Block, windows: list[int]) -> object:
        steps.append(len(windows))
        return loss(self, windows)

    monkeypatch.setattr(learned_rounding._Block, "probe", looked)
    monkeypatch.setattr(learned_rounding._Block, "loss", stepped)
    compress(Compress(str(llama), asked, workspace=str(tmp_path)), SILENT)
    rows = [row for row in make_plan(open_checkpoint(str(llama)), asked).treated_rows if row.layer.depth == 0]
    (counted,) = learning_of(rows, 20)
    assert len(steps) == 3 * counted.steps
    assert set(steps) == {counted.step_windows}
    assert len(looks) == 3 * (counted.looks + 1)  # the first, before any step, belongs to no step
    assert set(looks) == {counted.look_windows}


@pytest.mark.parametrize(
    ("step", "looks"),
    [
        (Polish(steps=3, batch_windows=4), 2),
        (Distil(steps=3, batch_windows=4, parts=2, text_samples=10, look_every=1), 4),
    ],
    ids=["polish", "distil"],
)
def test_tuning_pushes_as_many_windows_as_counted(
    step: Tuning, looks: int, llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = recipe(ErrorFeedback(), windows=10, tuning=(step,))
    pushed: list[int] = []
    logits = forward.logits_of

    def counted(model: object, ids: object) -> object:
        pushed.append(len(ids))  # type: ignore[arg-type]
        return logits(model, ids)  # type: ignore[arg-type]

    monkeypatch.setattr(reference, "logits_of", counted)
    for cache in (reference.CACHE_BYTES, 0):
        pushed.clear()
        monkeypatch.setattr(reference, "CACHE_BYTES", cache)
        monkeypatch.setattr("benchvise.core.estimate.workload.CACHE_BYTES", cache)
        compress(Compress(str(llama), asked, workspace=str(tmp_path / str(cache))), SILENT)
        work = tuning_workload(asked.tuning[0], Calibrating(10, 32, 32), 512)
        assert sum(pushed) == work.forwards
        # 10 windows, every eighth is judged on: 2; 8 are learned from, 4 in a step, all of them within 2 steps.
        assert (work.judged, work.step_windows, work.steps) == (2 * looks, 4, 3)
        assert work.cached == (10 * 32 * 512 * 4 if cache else 0)


def test_streams_in_bytes(llama: Path) -> None:
    checkpoint = open_checkpoint(str(llama))
    assert Calibrating(6, 32, 24).stream_bytes == 6 * 32 * 24 * 4
    for solver, inputs, between, held in (
        (ErrorFeedback(), "compressed", 2, 2),
        (ErrorFeedback(), "original", 1, 1),
        (ErrorFeedback(original_target=0.0), "compressed", 1, 1),
        (LEARNED, "compressed", 2, 3),
    ):
        plan = make_plan(checkpoint, recipe(solver, inputs=inputs))
        assert (streams_of(plan, learns=True), held_streams(plan, learns=True)) == (between, held)
    assert streams_of(make_plan(checkpoint, MIXED), learns=False) == 0


def test_the_stopwatch_tells_steps_from_looks() -> None:
    """A step takes 2, a look 5, and nobody knows what the first step took besides."""
    now = [0.0]
    timer = StepTimer(lambda: now[0])
    part = timer.part(0.8)
    part.start(STEPS, "steps")
    now[0] = 100.0
    for number in range(STEPS):
        now[0] += 2 + (5 if probes(STEPS - number, STEPS) else 0)
        part.advance(1)
    looks = sum(probes(left, STEPS) for left in range(1, STEPS + 1))
    assert timer.learning() == (2.0, 5.0, STEPS * 2 + looks * 5)
    found = BlockRates(rest=0, once=0, window=0, passes=0, step=2.0, probe=5.0, nbytes=0)
    rows = [row for row in _plan_rows(LEARNED) if row.layer.depth == 0]
    (learning,) = learning_of(rows, 32)
    # Tried on 2 windows: a step of 4 takes twice as long, a look at 16 eight times.
    small = block_benchmark.BenchmarkSize(2, 32, 32)
    assert learning_seconds(found, learning, small) == 40 * 2 * 2 + learning.looks * 5 * 8


def _plan_rows(solver: Solver) -> tuple[object, ...]:
    sample = Path(__file__).parents[3] / "resources" / "sample"
    return make_plan(open_checkpoint(str(sample)), recipe(solver, targets=("re:.*k_proj",))).treated_rows


def test_a_second_forecast_tries_nothing(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = recipe(LEARNED, windows=6, tuning=(Polish(steps=2, batch_windows=4),))
    request = ForecastJob(str(llama), asked, workspace=str(tmp_path))
    first = forecast_job(request, SILENT)
    for name in ("block", "network", "embedding_and_head", "recorded"):
        monkeypatch.setattr(block_benchmark.BlockBenchmark, name, None)
    monkeypatch.setattr(reading_text.ReadingText, "_try", None)
    second = forecast_job(request, SILENT)
    assert first.parts[1:] == second.parts[1:]  # opening it is timed each time
    assert not list(tmp_path.glob(".benchmark*"))
    assert not Workspace(str(tmp_path)).runs()
    treatment = replace(asked.rules[0].treatment, solver=replace(LEARNED, steps=400))
    more = replace(
        asked,
        rules=(replace(asked.rules[0], treatment=treatment),),
        calibration=replace(asked.calibration, windows=12),
    )
    monkeypatch.setattr(tried_blocks, "scale_for", lambda *_: block_benchmark.BenchmarkSize(6, 32, 12))
    longer = dict(forecast_job(ForecastJob(str(llama), more, workspace=str(tmp_path)), SILENT).parts)
    assert longer["learning"] > 5 * dict(second.parts)["learning"]
    assert longer["calibration passes"] == pytest.approx(2 * dict(second.parts)["calibration passes"])


@dataclass(frozen=True)
class TuneNorms(Tuning):
    key: ClassVar[str] = "tune_norms"
    title: ClassVar[str] = "Tune norms"


class Norms(PolishedNetwork):
    @classmethod
    def part_of(cls, settings: Tuning, model: nn.Module, weights: RunWeights, layer: Layer) -> TrainedPart | None:
        return super().part_of(settings, model, weights, layer) if weights.treatment(layer).keeps else None


def test_each_kind_of_tuning_has_rates_of_its_own(llama: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TRAINEES, TuneNorms, Norms)

    def forecast(*tuning: Tuning) -> JobForecast:
        asked = recipe(ErrorFeedback(), windows=6, tuning=tuning)
        return forecast_job(ForecastJob(str(llama), asked, workspace=str(tmp_path)), SILENT)

    polish, norms = forecast(Polish(steps=2, batch_windows=4)), forecast(TuneNorms(steps=2, batch_windows=4))
    assert {"polish: steps", "tune_norms: steps"} == {
        name for found in (polish, norms) for name, _ in found.parts if name.endswith(": steps")
    }
    checkpoint = open_checkpoint(llama)
    values = sum(layer.parameters for layer in checkpoint.layers if layer.kind == "norm" and layer.depth is not None)
    assert dict(norms.memory)["what is tuned"] == 4 * OPTIMISER_COPIES * values
    assert dict(polish.memory)["what is tuned"] > 10 * dict(norms.memory)["what is tuned"]
    assert not any("costs" in note for note in norms.notes)
    monkeypatch.setitem(TRAINEES, TuneNorms, Trainee)
    assert any(
        "'Tune norms' is taken to cost what a step of polish costs" in note for note in forecast(TuneNorms()).notes
    )


@pytest.mark.parametrize("asked", [MIXED, recipe(ErrorFeedback())])
def test_forecasts_are_held_against_the_run(asked: Recipe, llama: Path, tmp_path: Path) -> None:
    path = network(tmp_path / "plain") if asked is MIXED else llama
    place = str(tmp_path / "w")
    forecast = forecast_job(ForecastJob(str(path), asked, workspace=place), SILENT)
    run = compress(Compress(str(path), asked, workspace=place), SILENT)
    (summary,) = Workspace(place).runs()
    found = {each.kind: each for each in summary.comparisons}
    assert set(found) == {"bytes", "peak_bytes", "seconds"}
    assert found["seconds"].forecast == forecast.seconds
    assert (found["seconds"].measured, found["peak_bytes"].measured) == (run.seconds, float(run.peak_rss_bytes))
    assert forecast.seconds.value == pytest.approx(sum(seconds for _, seconds in forecast.parts))
    assert forecast.peak_bytes.value == sum(nbytes for _, nbytes in forecast.memory)
    records = sum(layer.bytes_after for layer in run.layers)
    assert forecast.disk_bytes == records + (2 * 2 * 6 * 32 * 32 * 4 if asked is not MIXED else 0)


def test_three_past_runs_correct_the_time(llama: Path, tmp_path: Path) -> None:
    place = str(tmp_path)
    asked = recipe(ErrorFeedback())
    plan = make_plan(open_checkpoint(str(llama)), asked)
    workspace = Workspace(place)
    first = forecast_job(ForecastJob(str(llama), asked, workspace=place), SILENT)
    assert not any("corrected" in note for note in first.notes)
    kept = workspace.forecasts.read(checkpoint_identity(plan.checkpoint), plan.recipe.digest)
    machine = kept[0].machine
    for seed in range(1, 4):
        other = replace(asked, seed=seed)
        past = make_plan(plan.checkpoint, other)
        estimate = Estimate(5.0, 4.0, 6.0)
        workspace.keep_forecast(plan.checkpoint, other, "seconds", estimate, machine=machine, about=way_of(plan))
        run = workspace.new_run(past)
        run.update(state="done", seconds=10.0)
        run.leave()
    second = forecast_job(ForecastJob(str(llama), asked, workspace=place), SILENT)
    assert any("× 2.00" in note and "3 past runs" in note for note in second.notes)
    assert second.seconds.value == pytest.approx(2 * sum(seconds for _, seconds in second.parts))


def test_more_kinds_of_blocks_than_are_tried(tmp_path: Path) -> None:
    path = tiny("llama", tmp_path / "deep", num_hidden_layers=MAX_KINDS + 2)
    rules = tuple(
        Rule(
            (f"depth:{depth}",),
            Treatment(Integer(bits=2 + depth, group_size=8), ErrorFeedback()),
            ignore=("role:norm",),
        )
        for depth in range(MAX_KINDS + 2)
    )
    asked = replace(recipe(ErrorFeedback()), rules=rules)
    found = forecast_job(ForecastJob(str(path), asked, workspace=str(tmp_path / "w")), SILENT)
    assert any("2 more kinds" in note for note in found.notes)


def test_solvers_that_take_too_long_are_stood_in_for(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = _plan_rows(LEARNED)
    chosen, factor = affordable(rows)  # type: ignore[arg-type]
    assert factor == 1.0
    assert {row.treatment.solver for row in chosen} == {replace(LEARNED, steps=STEPS)}
    monkeypatch.setattr(block_benchmark, "SOLVE_WORK", 1.0)
    chosen, factor = affordable(rows)  # type: ignore[arg-type]
    assert factor == pytest.approx(len(rows))  # all similar, one of them affordable
    assert sum(row.treatment.solver.start == "nearest" for row in chosen) == len(rows) - 1  # type: ignore[attr-defined]
