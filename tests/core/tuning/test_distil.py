"""Distillation: codes move, the divergence falls further than by polish, and what does not gain is undone."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter
from benchvise.core.errors import CheckpointError, OutputError, RecipeError
from benchvise.core.evaluate.divergence import score_batch
from benchvise.core.job.job import compress
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.distil import Distil
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.tuning import Tuning
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.gather import gather
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import CheckRecipe, Compress
from benchvise.core.protocol.results import Run, TuningStep
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.tuning import stage, state
from benchvise.core.tuning.distillation_loss import distillation_loss, hidden_error
from benchvise.core.tuning.distilled_network import DistilledNetwork
from benchvise.core.tuning.state import TuningState, TuningStateFile
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import RunWeights
from benchvise.core.wording import sentence
from tests.core.blockwise import calibrated_models
from tests.core.blockwise.calibrated_models import SAMPLE, tiny
from tests.core.job.compress_samples import records

TWO_BITS = Integer(bits=2, symmetric=False, granularity="group", group_size=4)
DISTIL = Distil(steps=12, batch_windows=4, learning_rate=0.02, text_samples=60, look_every=6)


class Listener(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []
        self.steps: list[TuningStep] = []

    def note(self, message: str) -> None:
        self.notes.append(message)

    def result(self, record: object) -> None:
        if isinstance(record, TuningStep):
            self.steps.append(record)

    @property
    def held_out(self) -> list[float]:
        return [step.held_out for step in self.steps if step.held_out is not None]


def carried_out(
    checkpoint: Path, space: Path, scheme: Scheme, *tuning: Tuning, resume: bool = False
) -> tuple[Run, Listener]:
    text = Calibration(windows=16, window_tokens=32)
    asked = Recipe(rules=(Rule(("linears",), Treatment(scheme)),), tuning=tuning, calibration=text)
    listener = Listener()
    return compress(Compress(str(checkpoint), asked, str(space), resume=resume), listener), listener


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("distil") / "llama", num_hidden_layers=2)


def test_goes_further_than_polish_in_the_same_bytes(tmp_path: Path, folder: Path) -> None:
    polished, before = carried_out(folder, tmp_path, TWO_BITS, Polish(steps=12, batch_windows=4))
    distilled, listener = carried_out(folder, tmp_path, TWO_BITS, DISTIL)
    assert listener.held_out[-1] < 0.95 * before.held_out[-1]
    assert [step.step for step in listener.steps if step.held_out is not None] == [0, 6, 12]
    assert distilled.bytes_after == polished.bytes_after
    assert all("tuned by distil" in layer.notes for layer in distilled.layers)
    ours, theirs = (open_weights(f"run:{run.run}", str(tmp_path)) for run in (distilled, polished))
    for layer in ours.checkpoint.layers:
        found, other = ours.stored(layer), theirs.stored(layer)
        assert {name: (v.shape, v.dtype) for name, v in found.items()} == {
            n: (v.shape, v.dtype) for n, v in other.items()
        }
        if "weight_packed" in found:
            assert not torch.equal(found["weight_packed"], other["weight_packed"])


def test_zeros_stay_and_what_lies_between_them_is_trained(tmp_path: Path, folder: Path) -> None:
    half = Sparse(criterion="n_of_m", storage_form="indices")
    plain, _ = carried_out(folder, tmp_path, half)
    trained, listener = carried_out(folder, tmp_path, half, replace(DISTIL, trains="all"))
    assert listener.held_out[-1] < listener.held_out[0]
    ours, theirs = (open_weights(f"run:{run.run}", str(tmp_path)) for run in (trained, plain))
    originals = open_weights(str(folder))
    for layer in ours.checkpoint.layers:
        found, other = ours.stored(layer), theirs.stored(layer)
        if "weight_indices" in found:
            assert torch.equal(found["weight_indices"], other["weight_indices"])
            assert not torch.equal(found["weight_values"], other["weight_values"])
        else:
            assert not torch.equal(ours.dense(layer), originals.dense(layer)), layer.name


def test_adapters_are_folded_into_the_codes(tmp_path: Path, folder: Path) -> None:
    plain, _ = carried_out(folder, tmp_path, TWO_BITS)
    tuned, listener = carried_out(folder, tmp_path, TWO_BITS, replace(DISTIL, trains="adapters", rank=2))
    assert listener.held_out[-1] < listener.held_out[0]
    assert tuned.bytes_after == plain.bytes_after
    ours, theirs = (open_weights(f"run:{run.run}", str(tmp_path)) for run in (tuned, plain))
    moved = [
        layer
        for layer in ours.checkpoint.layers
        if "weight_packed" in theirs.stored(layer)
        and not torch.equal(ours.stored(layer)["weight_packed"], theirs.stored(layer)["weight_packed"])
    ]
    assert len(moved) == len(plain.layers)
    assert all(ours.stored(layer).keys() == theirs.stored(layer).keys() for layer in moved)
    weights, whole = open_weights(f"run:{plain.run}", str(tmp_path)), replace(DISTIL, trains="treated")
    assert isinstance(weights, RunWeights)
    trained = {
        step.trains: sum(values.numel() for values in DistilledNetwork(weights, step, NullProgress()).parameters)
        for step in (whole, replace(whole, trains="adapters", rank=2))
    }
    assert trained["adapters"] < 0.5 * trained["treated"]


def test_scales_alone_leave_codes_as_they_are(tmp_path: Path, folder: Path) -> None:
    plain, _ = carried_out(folder, tmp_path, TWO_BITS)
    tuned, _ = carried_out(folder, tmp_path, TWO_BITS, replace(DISTIL, trains="scales", scale_rate=1.0))
    ours, theirs = (open_weights(f"run:{run.run}", str(tmp_path)) for run in (tuned, plain))
    packed = [layer for layer in ours.checkpoint.layers if "weight_packed" in ours.stored(layer)]
    assert packed
    for layer in packed:
        assert torch.equal(ours.stored(layer)["weight_packed"], theirs.stored(layer)["weight_packed"])
        assert not torch.equal(ours.stored(layer)["weight_scale"], theirs.stored(layer)["weight_scale"])


def test_training_that_diverges_stops_and_is_undone(tmp_path: Path, folder: Path) -> None:
    wild = replace(DISTIL, learning_rate=1.0, scale_rate=10.0, look_every=2, warm_up=0.0)
    eight = Integer(bits=8, granularity="channel")
    run, listener = carried_out(folder, tmp_path, eight, wild)
    assert max(step.step for step in listener.steps) < wild.steps
    assert any("diverged at step" in note and "undone" in note for note in listener.notes)
    assert not any("tuned by" in note for layer in run.layers for note in layer.notes)
    plain, _ = carried_out(folder, tmp_path / "plain", eight)
    ours, theirs = (
        open_weights(f"run:{run.run}", str(tmp_path)),
        open_weights(f"run:{plain.run}", str(tmp_path / "plain")),
    )
    assert all(torch.equal(ours.dense(layer), theirs.dense(layer)) for layer in ours.checkpoint.layers)


def test_a_loss_that_is_no_number_returns_to_the_best_state(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loss, calls = DistilledNetwork.loss, []

    def broken(
        self: DistilledNetwork, ids: torch.Tensor, wanted: torch.Tensor, hidden: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        calls.append(len(ids))
        return loss(self, ids, wanted, hidden) * (float("nan") if len(calls) > 8 else 1.0)

    monkeypatch.setattr(DistilledNetwork, "loss", broken)
    run, listener = carried_out(folder, tmp_path, TWO_BITS, DISTIL)
    assert any("diverged at step 9 of 12" in note and "after step 6 is kept" in note for note in listener.notes)
    assert any("tuned by distil" in layer.notes for layer in run.layers)


def test_training_ends_when_held_out_text_no_longer_gains(tmp_path: Path, folder: Path) -> None:
    idle = replace(DISTIL, learning_rate=1e-8, look_every=2, patience=2)
    _, listener = carried_out(folder, tmp_path, Integer(bits=8, granularity="channel"), idle)
    assert max(step.step for step in listener.steps) < idle.steps
    assert any("no longer gained" in note for note in listener.notes)


def test_out_of_memory_halves_what_goes_through_at_once(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, whole = carried_out(folder, tmp_path / "whole", TWO_BITS, replace(DISTIL, steps=4, precision="float32"))
    loss, seen = DistilledNetwork.loss, []

    def scarce(
        self: DistilledNetwork, ids: torch.Tensor, wanted: torch.Tensor, hidden: Sequence[torch.Tensor] = ()
    ) -> torch.Tensor:
        if len(ids) > 1:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes.")
        seen.append(len(ids))
        return loss(self, ids, wanted, hidden)

    monkeypatch.setattr(DistilledNetwork, "loss", scarce)
    run, listener = carried_out(folder, tmp_path / "scarce", TWO_BITS, replace(DISTIL, steps=4, precision="float32"))
    assert seen == [1] * 16
    assert next(note for note in listener.notes if "samples at once" in note).startswith("Out of memory: distil")
    assert listener.held_out[-1] == pytest.approx(whole.held_out[-1], rel=0.02)
    assert run.bytes_after == plain.bytes_after


def test_the_loss_is_what_the_judge_measures() -> None:
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(3, 5, 11, generator=generator) for _ in range(2))
    ids = torch.randint(0, 11, (3, 5), generator=generator)
    judged = score_batch(ours, ids, theirs)
    assert judged.kl is not None
    wanted = theirs.log_softmax(-1)
    soft = distillation_loss(Distil(), ours, ids, wanted)
    assert float(soft) == pytest.approx(float(np.mean(judged.kl)), rel=1e-5)
    hard = distillation_loss(Distil(hard_labels=1.0), ours, ids, wanted)
    assert float(hard) == pytest.approx(judged.nll / judged.predicted, rel=1e-5)
    both = distillation_loss(Distil(hard_labels=0.25), ours, ids, wanted)
    assert float(both) == pytest.approx(0.25 * float(hard) + 0.75 * float(soft), rel=1e-5)
    warm = distillation_loss(Distil(temperature=2.0), ours, ids, wanted)
    flat = score_batch(ours / 2, ids, theirs / 2).kl
    assert flat is not None
    assert float(warm) == pytest.approx(4 * float(np.mean(flat)), rel=1e-5)


def test_hidden_states_are_held_against_those_as_far_on_the_way() -> None:
    generator = torch.Generator().manual_seed(0)
    theirs = [torch.randn(2, 3, 4, generator=generator) for _ in range(4)]
    assert float(hidden_error([theirs[1], theirs[3]], theirs)) == 0
    assert float(hidden_error([theirs[1], 1.5 * theirs[3]], theirs)) == pytest.approx(0.25 / 2)
    with pytest.raises(ValueError, match="widths"):
        hidden_error([torch.zeros(2, 3, 5)], theirs)


def test_hidden_states_come_nearer_when_they_count(tmp_path: Path, folder: Path) -> None:
    def error(run: Run, space: Path) -> float:
        original, model = (load_model(open_weights(name, str(space))) for name in (str(folder), f"run:{run.run}"))
        ids = torch.arange(64)[None]
        with torch.no_grad():
            states = [each(ids, output_hidden_states=True).hidden_states[1:] for each in (model, original)]
        return float(hidden_error(*states))

    found = {}
    for weight in (0.0, 10.0):
        step = replace(DISTIL, hidden_states=weight, steps=10)
        found[weight] = error(carried_out(folder, tmp_path, TWO_BITS, step)[0], tmp_path)
    assert found[10.0] < found[0.0]


def test_rates_rise_then_fall_to_zero() -> None:
    settings = Distil(steps=100, learning_rate=0.1, warm_up=0.1)
    rates = [settings.rate(step) for step in range(100)]
    assert rates[0] == pytest.approx(0.01)
    assert max(rates) == pytest.approx(0.1, rel=0.05)
    assert rates.index(max(rates)) in (8, 9)
    assert rates[-1] < 1e-4


def test_a_text_that_is_short_for_the_steps_is_said_before_and_in_the_run(tmp_path: Path, folder: Path) -> None:
    often = replace(DISTIL, steps=40, batch_windows=8, text_samples=9, look_every=100)
    asked = Recipe(
        rules=(Rule(("linears",), Treatment(TWO_BITS)),),
        tuning=(often,),
        calibration=Calibration(windows=9, window_tokens=32),
    )
    request = CheckRecipe(str(folder), asked, workspace=str(tmp_path))
    checked = check_recipe(open_checkpoint(str(folder)), request, lambda plan: gather(plan, request))
    (short,) = (finding for finding in checked.findings if "short for Distil" in finding.title)
    assert short.level == "warns"
    assert "9 samples about 46 times" in short.detail
    _, listener = carried_out(folder, tmp_path, TWO_BITS, replace(often, steps=1))
    assert not any("about" in note for note in listener.notes)


@pytest.mark.parametrize("what", ["vocabulary", "width"])
def test_a_network_of_another_kind_is_refused(
    what: str, tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other: dict[str, Any] = {} if what == "vocabulary" else {"hidden_size": 64, "head_dim": 16}
    monkeypatch.setattr(calibrated_models, "VOCABULARY", 600 if what == "vocabulary" else 512)
    stranger = load_model(open_weights(str(tiny("llama", tmp_path / "other", num_hidden_layers=2, **other))))
    monkeypatch.setattr(stage, "load_model", lambda *_, **__: stranger)
    said = "512 tokens and the original 600" if what == "vocabulary" else "different widths"
    with pytest.raises(CheckpointError, match=said):
        carried_out(folder, tmp_path / "space", TWO_BITS, replace(DISTIL, hidden_states=1.0))


def test_nothing_to_train_is_refused(tmp_path: Path, folder: Path) -> None:
    frozen = replace(DISTIL, trains="scales", scale_rate=0.0)
    with pytest.raises(RecipeError, match="Nothing is left to train") as caught:
        carried_out(folder, tmp_path, TWO_BITS, frozen)
    assert "tuning step 1 (Distil)" in str(caught.value.where)


def test_a_step_that_finds_no_compressed_layer_is_told() -> None:
    checkpoint = open_checkpoint(str(SAMPLE))
    found = {
        trains: [
            sentence(warning)
            for warning in make_plan(
                checkpoint, Recipe(tuning=(replace(DISTIL, trains=trains),)), allow_empty=True
            ).plan_warnings
        ]
        for trains in ("treated", "all")
    }
    assert found["all"] == []
    assert "'Distil' trains norms and biases alone" in found["treated"][0]


def test_a_disk_that_is_full_leaves_the_last_state(
    tmp_path: Path, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state, "SAVE_SECONDS", 0.0)
    save, saved = TuningStateFile.save, []

    def full(self: TuningStateFile, kept: TuningState) -> None:
        saved.append(kept.step)
        if len(saved) == 4:
            with monkeypatch.context() as patch:
                patch.setattr(SafetensorsWriter, "write", refused)
                save(self, kept)
        save(self, kept)

    def refused(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(TuningStateFile, "save", full)
    step = replace(DISTIL, steps=6, look_every=2)
    with pytest.raises(OutputError):
        carried_out(folder, tmp_path / "cut", TWO_BITS, step)
    assert not list(tmp_path.rglob("*.partial"))
    run, _ = carried_out(folder, tmp_path / "cut", TWO_BITS, step, resume=True)
    assert saved == [1, 2, 3, 4, 4, 5, 6]
    assert run.layers
    carried_out(folder, tmp_path / "whole", TWO_BITS, step)
    assert records(tmp_path / "cut") == records(tmp_path / "whole")


def test_layers_below_rounded_inputs_are_trained_too(tmp_path: Path, folder: Path) -> None:
    asked = Recipe(rules=(Rule(("linears",), Treatment(TWO_BITS, activations=Activations("int8"))),))
    run = compress(Compress(str(folder), asked, str(tmp_path)), NullProgress())
    weights = open_weights(f"run:{run.run}", str(tmp_path))
    assert isinstance(weights, RunWeights)
    network = DistilledNetwork(weights, DISTIL, NullProgress())
    wanted = torch.zeros(1, 8, 512).log_softmax(-1)
    below = [part.change["weight"] for part in network.parts if "gate_proj" in part.layer.name]
    for each in below:
        each.requires_grad_()
    loss = network.loss(torch.arange(8)[None], wanted)
    for gradient in torch.autograd.grad(loss, below):  # each reaches the output through rounded inputs alone
        assert (gradient != 0).float().mean() > 0.5
