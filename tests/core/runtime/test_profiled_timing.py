"""What a machine that keeps to laws would take is estimated from its profile alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import UserError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import ForecastCosts, ForecastLatency
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.runtime.costs import forecast_costs
from benchvise.core.runtime.forecast import forecast_latency
from benchvise.core.runtime.profiled_timing import ProfiledTiming, fitted_parts, latency_target_elsewhere, predicted
from benchvise.core.workspace.layer_costs import load_layer_costs
from benchvise.core.workspace.machine_profiles import save_profile
from tests.core.runtime.synthetic_profile import (
    BLOCK_MS,
    FIXED_MS,
    KEY_MS,
    VALUE_MS,
    linear_ms,
    rest_ms,
    synthetic_profile,
)
from tests.core.runtime.tiny_models import save_tiny

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
INT8 = Treatment(Integer(bits=8, granularity="channel"))
INT4 = Treatment(Integer(bits=4, group_size=32, indivisible="divisor"))


@pytest.fixture
def profile_file(tmp_path: Path) -> str:
    return save_profile(synthetic_profile(), tmp_path / "laptop.json").file


@pytest.mark.parametrize(("weight_bytes", "inputs"), [(9000, 1), (131072, 3), (200_000, 64), (8192, 8)])
def test_sizes_never_timed_are_interpolated_in_logarithms(weight_bytes: int, inputs: int) -> None:
    dense = [linear for linear in synthetic_profile().linears if linear.tag == "dense"]
    assert predicted(dense, weight_bytes, inputs) == pytest.approx(linear_ms(weight_bytes, inputs), rel=1e-9)


def test_beyond_the_sizes_timed_times_never_grow_faster_than_the_work() -> None:
    steep = [
        replace(linear, ms=linear.ms * (5 if linear.rows == 1024 else 1))
        for linear in synthetic_profile().linears
        if linear.tag == "dense" and linear.tokens == 1
    ]
    largest = max(linear.weight_bytes for linear in steep)
    assert predicted(steep, 4 * largest, 1) == pytest.approx(4 * predicted(steep, largest, 1))


def test_the_parts_of_a_rest_are_found_again() -> None:
    for decodes in (True, False):
        rests = [rest for rest in synthetic_profile().rests if bool(rest.prompt) != decodes]
        assert fitted_parts(rests) == pytest.approx([FIXED_MS, BLOCK_MS, VALUE_MS, KEY_MS], rel=1e-3, abs=1e-10)


def test_a_whole_step_is_worked_out_by_hand(profile_file: str) -> None:
    recipe = Recipe((Rule(("linears",), INT8),))
    found = forecast_latency(
        ForecastLatency(str(SAMPLE), recipe, batch=2, context=100, prompt=50, profile=profile_file), NullProgress()
    )
    blocks = ((64, 64), (32, 64), (32, 64), (64, 64), (172, 64), (172, 64), (64, 172))
    dense = [(*shape, 4.0) for shape in 5 * blocks]  # the sample is float32: dense layers read four bytes
    after = [(rows, columns, 1 + 2 / columns) for rows, columns in 5 * blocks]
    head = linear_ms(512 * 64 * 4, 2)
    rest = rest_ms(5, 64, 32, 2, 100, 0)
    assert found.before_ms.value == pytest.approx(rest + head + sum(linear_ms(r * c * b, 2) for r, c, b in dense))
    assert found.after_ms.value == pytest.approx(rest + head + sum(linear_ms(r * c * b, 2) for r, c, b in after))
    reading = rest_ms(5, 64, 32, 2, 0, 50)
    assert found.prefill_before_ms is not None
    assert found.prefill_before_ms.value == pytest.approx(
        reading + head + sum(linear_ms(r * c * b, 100) for r, c, b in dense)
    )
    assert (found.machine, found.other_machine, found.batch, found.context, found.prompt) == (
        "Laptop",
        True,
        2,
        100,
        50,
    )
    assert found.before_ms.low <= found.before_ms.value / 1.2 < found.before_ms.value * 1.2 <= found.before_ms.high


def test_times_are_found_by_what_runs_not_by_words_or_solver(tmp_path: Path) -> None:
    """A profile's tags may be reworded, and GPTQ's codes run as fast as rounded ones."""
    profile = synthetic_profile()
    slow = [replace(t, ms=50 * t.ms) if t.key == INT8.running_key else t for t in profile.linears]
    reworded = tuple(replace(linear, tag=f"words {index}") for index, linear in enumerate(slow))
    file = save_profile(replace(profile, linears=reworded), tmp_path / "reworded.json").file
    plain = save_profile(replace(profile, linears=tuple(slow)), tmp_path / "slow.json").file
    solved = replace(INT8, solver=ErrorFeedback())
    assert solved.key != INT8.key
    assert solved.running_key == INT8.running_key
    assert replace(INT8, activations=Activations()).running_key != INT8.running_key
    request = ForecastCosts(str(SAMPLE), (INT8, KEEP, INT4), profile=file, workspace=str(tmp_path))
    found = forecast_costs(request, NullProgress()).milliseconds
    asked = replace(request, treatments=(solved, KEEP, INT4), profile=plain)
    assert (found == forecast_costs(asked, NullProgress()).milliseconds).all()
    assert (found[:, 0] > 2 * found[:, 1]).any()


def test_costs_add_up_to_the_forecast(profile_file: str, tmp_path: Path) -> None:
    workspace = str(tmp_path / "workspace")
    request = ForecastCosts(
        str(SAMPLE), (INT8, KEEP, INT4), batch=1, context=64, profile=profile_file, workspace=workspace
    )
    costs = forecast_costs(request, NullProgress())
    assert costs.milliseconds.shape == costs.weight_bytes.shape == (len(costs.layers), 3)
    assert costs.tags == (INT8.tag, "keep", INT4.tag)
    for treatment, column in ((INT8, 0), (KEEP, 1)):
        recipe = Recipe((Rule(("linears",), treatment),) if treatment is INT8 else (Rule(("*0.mlp.up_proj*",), INT4),))
        asked = ForecastLatency(str(SAMPLE), recipe, context=64, profile=profile_file)
        forecast = forecast_latency(asked, NullProgress())
        whole = forecast.after_ms if treatment is INT8 else forecast.before_ms
        assert costs.rest.value + costs.milliseconds[:, column].sum() == pytest.approx(whole.value)
    assert costs.other_machine
    kept = load_layer_costs(workspace, costs.key)
    assert (kept.layers, kept.tags, kept.rest, kept.key) == (costs.layers, costs.tags, costs.rest, costs.key)
    assert (kept.milliseconds == costs.milliseconds).all()


def test_costs_of_some_layers_leave_the_others_in_the_rest(profile_file: str, tmp_path: Path) -> None:
    request = ForecastCosts(str(SAMPLE), (KEEP,), profile=profile_file, workspace=str(tmp_path))
    whole = forecast_costs(request, NullProgress())
    some = forecast_costs(replace(request, layers=whole.layers[3:5]), NullProgress())
    assert some.layers == whole.layers[3:5]
    assert some.key != whole.key
    assert (some.milliseconds == whole.milliseconds[3:5]).all()
    assert some.rest.value + some.milliseconds.sum() == pytest.approx(whole.rest.value + whole.milliseconds.sum())


def test_a_treatment_that_does_not_fit_costs_what_the_dense_layer_does(profile_file: str, tmp_path: Path) -> None:
    stubborn = Treatment(Integer(bits=4, group_size=128, indivisible="refuse"))
    request = ForecastCosts(str(SAMPLE), (KEEP, stubborn), profile=profile_file, workspace=str(tmp_path))
    costs = forecast_costs(request, NullProgress())
    assert (costs.milliseconds[:, 0] == costs.milliseconds[:, 1]).all()


def test_unknown_layers_are_refused(profile_file: str) -> None:
    request = ForecastCosts(str(SAMPLE), (KEEP,), layers=("model.layers.9.mlp.up_proj",), profile=profile_file)
    with pytest.raises(UserError, match="no layer of the checkpoint"):
        forecast_costs(request, NullProgress())


def test_more_context_than_positions_is_refused(profile_file: str) -> None:
    recipe = Recipe((Rule(("linears",), INT8),))
    with pytest.raises(UserError, match="512 positions"):
        forecast_latency(ForecastLatency(str(SAMPLE), recipe, context=512, profile=profile_file), NullProgress())


def test_a_gpu_is_forecast_without_one(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_tiny("llama", tmp_path, tied=False))
    profile = synthetic_profile("cuda", triton=True)
    target = latency_target_elsewhere(checkpoint, profile)
    assert {work.route for work in target.assignment({layer.name: INT8 for layer in checkpoint.layers})} >= {
        "Triton: packed weights, half-precision activations"
    }
    with pytest.raises(UserError, match="has no layer on 'Triton"):
        ProfiledTiming(target, profile).decoding(
            [target.assignment({layer.name: INT4 for layer in checkpoint.layers})], 1, 32
        )


def test_what_was_timed_of_the_very_model_is_taken() -> None:
    checkpoint = open_checkpoint(SAMPLE)
    profile = synthetic_profile()
    target = latency_target_elsewhere(checkpoint, profile)
    similar = replace(profile.rests[0], model=target.digest, blocks=5, hidden=64, keys=32, ms=7.0)
    own = replace(profile, rests=(*profile.rests, similar))
    known = ProfiledTiming(target, own).decoding([target.assignment({})], 1, 32)
    assert known.rest.value == pytest.approx(7.0, rel=0.01)
