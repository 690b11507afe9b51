"""A model on its kernels computes what the decoded weights compute, to the precision of bfloat16."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.errors import UserError
from benchvise.core.job.job import compress
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, ForecastLatency, MeasureLatency
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime import latency, local_timing
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.decode import DecodingTimes
from benchvise.core.runtime.forecast import forecast_latency
from benchvise.core.runtime.latency import measure_latency, speed_up
from benchvise.core.runtime.modules import CompressedLinear
from benchvise.core.runtime.running import RunningModel, load_running
from benchvise.core.weights.open import open_weights
from tests.core.runtime.tiny_models import save_tiny

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
CPU = torch.device("cpu")
INT8 = Treatment(Integer(bits=8, granularity="channel"))
INT4 = Treatment(Integer(bits=4, group_size=32, indivisible="divisor"))


def recipe(treatment: Treatment, *targets: str) -> Recipe:
    return Recipe((Rule(targets or ("linears",), treatment),))


def run(tmp_path: Path, treatment: Treatment, *targets: str, path: Path = SAMPLE) -> tuple[str, str]:
    workspace = str(tmp_path / "workspace")
    result = compress(Compress(str(path), recipe(treatment, *targets), workspace), NullProgress())
    return f"run:{result.run}", workspace


def compressed_modules(running: RunningModel) -> int:
    return sum(isinstance(module, CompressedLinear) for module in running.model.modules())


@pytest.mark.parametrize(
    "treatment",
    [
        INT8,
        INT4,
        Treatment(Integer(bits=8, granularity="channel", symmetric=False)),
        Treatment(Integer(bits=4, group_size=32, symmetric=False, indivisible="divisor")),
        Treatment(Integer(bits=3, granularity="channel")),
        Treatment(Integer(bits=8, granularity="tensor")),
        Treatment(Sparse()),
    ],
    ids=lambda treatment: treatment.tag,
)
def test_logits_are_those_of_the_decoded_weights(tmp_path: Path, treatment: Treatment) -> None:
    weights = open_weights(*run(tmp_path, treatment))
    running = load_running(weights, CPU, NullProgress())
    decoded = load_model(weights, dtype=torch.float32)
    ids = (torch.arange(60).reshape(2, 30) * 13) % 512
    with torch.inference_mode():
        ours, theirs = running.model(ids).logits, decoded(ids).logits
    # Activations and scales are rounded to 8 bits of mantissa in each of 35 layers.
    assert (ours - theirs).norm() / theirs.norm() < 0.02
    assert running.dtype == torch.float32
    assert sum(count for _, count in running.routes) == 5 * 7 + 1


def test_routes_are_counted_and_fallbacks_have_reasons(tmp_path: Path) -> None:
    running = load_running(open_weights(*run(tmp_path, INT4)), CPU, NullProgress())
    # 172 inputs of the five down projections have one scale a row; 172 rows of gate and up are filled up to 176.
    assert compressed_modules(running) == 35
    assert dict(running.routes) == {"int4 weights, bfloat16 activations": 35, "dense float32": 1}
    assert running.fallbacks == ()
    awkward = Treatment(Integer(bits=4, group_size=43))
    running = load_running(open_weights(*run(tmp_path / "odd", awkward, "role:mlp.down")), CPU, NullProgress())
    assert compressed_modules(running) == 0
    assert running.fallbacks == ("5 × dense: int4 g43: groups of 43 weights are no multiple of 32",)


def test_compressed_layers_take_less_memory_and_are_never_decoded(tmp_path: Path) -> None:
    weights = open_weights(*run(tmp_path, INT8, path=save_tiny("llama", tmp_path / "model", dtype=torch.bfloat16)))
    original = load_running(open_weights(str(tmp_path / "model")), CPU, NullProgress())
    running = load_running(weights, CPU, NullProgress())
    assert compressed_modules(running) == 21
    assert running.dtype == torch.bfloat16
    linears = 3 * (2 * 32 * 32 + 2 * 16 * 32 + 3 * 32 * 48)
    saved = original.weight_bytes - running.weight_bytes
    assert 0.8 * linears < saved < linears


def test_tied_embedding_stays_dense_and_says_so(tmp_path: Path) -> None:
    running = load_running(open_weights(*run(tmp_path, INT8, "embeddings")), CPU, NullProgress())
    assert compressed_modules(running) == 0
    assert any("embedding is looked up" in text for text in running.fallbacks)


def test_biases_are_kept(tmp_path: Path) -> None:
    weights = open_weights(*run(tmp_path, INT8, path=save_tiny("gpt2", tmp_path / "model", tied=True)))
    running = load_running(weights, CPU, NullProgress())
    assert compressed_modules(running) > 0
    ids = torch.arange(20)[None]
    with torch.inference_mode():
        ours, theirs = running.model(ids).logits, load_model(weights)(ids).logits
    assert (ours - theirs).norm() / theirs.norm() < 0.02


class Tokens(NullProgress):
    def __init__(self) -> None:
        self.total = self.done = 0
        self.notes: list[str] = []

    def start(self, total: int, unit: str) -> None:  # noqa: ARG002 - both units are counted the same way
        self.total = total

    def advance(self, units: int) -> None:
        self.done += units

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_latency_is_interleaved_with_the_original(tmp_path: Path) -> None:
    source, workspace = run(tmp_path, INT8)
    progress = Tokens()
    found = measure_latency(MeasureLatency(source, str(SAMPLE), 4, 3, 8, workspace), progress)
    assert found.against is not None
    assert found.speed_up is not None
    for timing in (found.timing, found.against):
        assert 0 < timing.least_ms <= timing.median_ms <= timing.greatest_ms
    assert found.timing.weight_bytes < found.against.weight_bytes
    assert min(found.timing.peak_bytes, found.against.peak_bytes) >= 0
    assert found.threads == torch.get_num_threads()
    assert progress.done == progress.total
    assert any("runs in float32" in note for note in progress.notes)


def test_latency_alone() -> None:
    found = measure_latency(MeasureLatency(str(SAMPLE), tokens=2, repetitions=1, context=4), NullProgress())
    assert (found.against, found.speed_up) == (None, None)
    assert found.timing.routes == (("dense float32", 36),)


def test_unsteady_times_are_taken_more_often_and_steady_ones_five_times(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[float] = []

    def measured(wobble: float) -> int:
        taken.clear()

        def decode(*_: object) -> DecodingTimes:
            taken.append(400.0 * (1 + wobble * (len(taken) % 2)))
            return DecodingTimes(1.0, taken[-1])

        monkeypatch.setattr(latency, "decode", decode)
        measure_latency(MeasureLatency(str(SAMPLE), tokens=1, context=4), NullProgress())
        return len(taken) - 1  # the first one warms up

    assert measured(0.0) == 5
    assert 5 < measured(0.5) <= 10  # 4 seconds of 0.4 to 0.6


def test_speed_up_is_the_median_of_pairs() -> None:
    assert speed_up([2.0, 40.0, 3.0], [1.0, 10.0, 3.0]) == 2.0


def test_more_tokens_than_positions_are_refused() -> None:
    with pytest.raises(UserError, match="512 positions"):
        measure_latency(MeasureLatency(str(SAMPLE), tokens=300, context=300), NullProgress())


def test_forecast_counts_every_layer_and_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    progress = Tokens()
    request = ForecastLatency(str(SAMPLE), recipe(INT8), str(tmp_path))
    found = forecast_latency(request, progress)
    assert progress.done == progress.total
    for estimate in (found.before_ms, found.after_ms):
        assert 0 < estimate.low <= estimate.value <= estimate.high
    running = load_running(open_weights(*run(tmp_path, INT8)), CPU, NullProgress())
    assert found.weight_bytes_after == pytest.approx(running.weight_bytes, rel=0.02)
    monkeypatch.setattr(local_timing, "MicroBenchmark", lambda *_: pytest.fail("measured again"))
    assert forecast_latency(request, NullProgress()) == found


def test_forecast_knows_fallbacks_before_the_run(tmp_path: Path) -> None:
    found = forecast_latency(ForecastLatency(str(SAMPLE), load_preset("magnitude-50"), str(tmp_path)), NullProgress())
    assert found.fallbacks
    assert found.weight_bytes_after == found.weight_bytes_before
