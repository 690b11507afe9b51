"""Sensitivity of single layers: equal to compressing that layer alone and running the whole model."""

from __future__ import annotations

import json
import math
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from scipy.stats import spearmanr
from transformers import AutoModelForCausalLM

import benchvise
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import Cancelled, CheckpointError, RecipeError
from benchvise.core.evaluate.text import text_windows
from benchvise.core.job.job import compress
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.protocol.requests import Compress, KnownSensitivity, MeasureSensitivity
from benchvise.core.protocol.results import SensitivityCell
from benchvise.core.recipe.layer_matcher import naming
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.sensitivity import context
from benchvise.core.sensitivity.known import known_sensitivity
from benchvise.core.sensitivity.measure import measure_sensitivity
from benchvise.core.sensitivity.reference import Reference
from benchvise.core.sensitivity.tasks import chosen_layers
from benchvise.core.sensitivity.treated import Treated, TreatedLayers
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import OriginalWeights
from tests.core.compress.treated_weight import treated_weight
from tests.core.runtime.tiny_models import save_tiny

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
INT3 = Treatment(Integer(bits=3, granularity="channel"))
INT8 = Treatment(Integer(bits=8, granularity="channel"))
HALF = Treatment(Sparse())
G128 = Treatment(Integer(bits=4, group_size=128))
LAYERS = ("model.layers.0.self_attn.q_proj", "model.layers.3.mlp.down_proj", "model.embed_tokens")


class Listener(NullProgress):
    def __init__(self, cancel_after: int = 1 << 30) -> None:
        self.cells: list[SensitivityCell] = []
        self.notes: list[str] = []
        self.total = self.done = 0
        self._cancel_after = cancel_after

    def start(self, total: int, unit: str) -> None:
        assert unit == "tokens"
        self.total = total

    def advance(self, units: int) -> None:
        self.done += units

    def note(self, message: str) -> None:
        self.notes.append(message)

    def check_cancelled(self) -> None:
        if len(self.cells) >= self._cancel_after:
            raise Cancelled

    def result(self, record: object) -> None:
        assert isinstance(record, SensitivityCell)
        self.cells.append(record)


def request(workspace: Path, *treatments: Treatment, layers: tuple[str, ...] = LAYERS) -> MeasureSensitivity:
    return MeasureSensitivity(str(SAMPLE), "", treatments, layers, 3, 48, str(workspace))


def test_equals_the_whole_model_with_one_layer_compressed(tmp_path: Path) -> None:
    listener = Listener()
    found = measure_sensitivity(request(tmp_path, INT3, HALF), listener)
    checkpoint = open_checkpoint(SAMPLE)
    ids = text_windows(checkpoint, "", 3, 48).ids
    expected = []
    for name in LAYERS:
        for treatment in (INT3, HALF):
            model = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)
            layer = checkpoint.layer(name)
            with torch.no_grad():
                before = model(ids).logits.double().log_softmax(-1)
                model.get_parameter(layer.tensor.name).copy_(treated_weight(layer, treatment))
                after = model(ids).logits.double().log_softmax(-1)
            expected.append((name, treatment.tag, (before.exp() * (before - after)).sum(-1).mean().item()))
    assert [(cell.layer, cell.treatment) for cell in found.cells] == [entry[:2] for entry in expected]
    for cell, (_, _, kl) in zip(found.cells, expected, strict=True):
        assert cell.kl == pytest.approx(kl, rel=2e-3, abs=2e-7)
        assert cell.kl > 0
        assert not cell.cached
    assert tuple(listener.cells) == found.cells
    assert found.tokens == 3 * 48
    assert listener.done == listener.total == 144 * 7


def test_one_expert_alone_equals_a_checkpoint_with_that_expert_compressed(tmp_path: Path) -> None:
    folder = save_tiny("qwen3_moe", tmp_path / "model")
    checkpoint = open_checkpoint(folder)
    ids = (torch.arange(4 * 24).reshape(4, 24) * 7) % 61
    layer = checkpoint.layer("model.layers.1.mlp.experts.2.up_proj")
    weight = treated_weight(layer, INT3)
    found = Reference(load_model(OriginalWeights(checkpoint)), ids, "").divergence(layer, weight)
    before = AutoModelForCausalLM.from_pretrained(folder)(ids).logits.double().log_softmax(-1)
    tensors = load_file(folder / "model.safetensors")
    save_file(tensors | {layer.tensor.name: weight}, folder / "model.safetensors", metadata={"format": "pt"})
    after = AutoModelForCausalLM.from_pretrained(folder)(ids).logits.double().log_softmax(-1)
    expected = (before.exp() * (before - after)).sum(-1).mean().item()
    assert found == pytest.approx(expected, rel=2e-3, abs=2e-7)
    assert found > 0


def test_more_bits_increase_kl_less(tmp_path: Path) -> None:
    cells = measure_sensitivity(request(tmp_path, INT3, INT8), NullProgress()).cells
    kl = {(cell.layer, cell.treatment): cell.kl for cell in cells}
    assert all(kl[name, INT8.tag] < kl[name, INT3.tag] / 20 for name in LAYERS)


@pytest.mark.parametrize(("model_type", "tied"), [("llama", False), ("llama", True), ("mixtral", False)])
def test_resumed_passes_equal_full_ones_bit_for_bit(tmp_path: Path, model_type: str, tied: bool) -> None:
    checkpoint = open_checkpoint(save_tiny(model_type, tmp_path, tied=tied))
    ids = (torch.arange(10 * 24).reshape(10, 24) * 7) % 61
    model = load_model(OriginalWeights(checkpoint))
    quick = Reference(model, ids, "")
    slow = Reference(model, ids, "")
    slow._blocks = None
    assert quick._blocks is not None, "passes start at the changed block"
    for layer in checkpoint.layers:
        if layer.compressible:
            weight = treated_weight(layer, INT3)
            assert quick.divergence(layer, weight) == slow.divergence(layer, weight)


def test_cancelled_measurement_goes_on_from_the_workspace(tmp_path: Path) -> None:
    first = Listener(cancel_after=2)
    with pytest.raises(Cancelled):
        measure_sensitivity(request(tmp_path, INT3, HALF), first)
    assert len(first.cells) == 2
    second = Listener()
    found = measure_sensitivity(request(tmp_path, INT3, HALF), second)
    assert [cell.cached for cell in found.cells] == [True, True, False, False, False, False]
    assert [cell.kl for cell in found.cells[:2]] == [cell.kl for cell in first.cells]
    undisturbed = measure_sensitivity(request(tmp_path / "other", INT3, HALF), NullProgress())
    assert [cell.kl for cell in found.cells] == [cell.kl for cell in undisturbed.cells]


def test_known_cells_need_no_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    once = measure_sensitivity(request(tmp_path, INT3), NullProgress())
    monkeypatch.setattr(context, "load_model", lambda *_, **__: pytest.fail("the model was loaded"))
    again = measure_sensitivity(request(tmp_path, INT3), NullProgress())
    assert [cell.kl for cell in again.cells] == [cell.kl for cell in once.cells]


def test_what_the_workspace_keeps_is_answered_as_it_was_measured(tmp_path: Path) -> None:
    ask = KnownSensitivity(str(SAMPLE), str(tmp_path))
    assert known_sensitivity(ask, NullProgress()).key == ""
    learned = Treatment(Integer(bits=3, granularity="channel"), ErrorFeedback())
    once = measure_sensitivity(request(tmp_path, INT3, learned, G128, layers=LAYERS[:1]), NullProgress())
    found = known_sensitivity(ask, NullProgress())
    assert found.cells == tuple(replace(cell, cached=True) for cell in once.cells)
    assert (found.key, found.tokens, found.treatments, found.asked) == (
        once.key,
        once.tokens,
        (INT3, learned, G128),
        ("", 3, 48),
    )
    changed = tmp_path / "changed"
    shutil.copytree(SAMPLE, changed)
    assert known_sensitivity(KnownSensitivity(str(changed), str(tmp_path)), NullProgress()).cells == ()


def test_a_changed_file_takes_only_its_own_layers_along(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(SAMPLE, folder)
    tensors = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    first = {name: value for name, value in tensors.items() if LAYERS[0] in name}
    shards = {"a.safetensors": first, "b.safetensors": {k: v for k, v in tensors.items() if k not in first}}
    for file, held in shards.items():
        save_file(held, folder / file, metadata={"format": "pt"})
    index = {"weight_map": {name: file for file, held in shards.items() for name in held}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    workspace = tmp_path / "workspace"
    once = measure_sensitivity(replace(request(workspace, INT3), path=str(folder)), NullProgress())
    ask = KnownSensitivity(str(folder), str(workspace))
    assert {cell.layer for cell in known_sensitivity(ask, NullProgress()).cells} == set(LAYERS)
    changed = {name: value + 0.01 for name, value in shards["b.safetensors"].items()}
    save_file(changed, folder / "b.safetensors", metadata={"format": "pt", "made": "again"})
    found = known_sensitivity(ask, NullProgress())
    assert [(cell.layer, cell.kl) for cell in found.cells] == [
        (cell.layer, cell.kl) for cell in once.cells if cell.layer == LAYERS[0]
    ]
    assert found.joint_effects == ()


def test_other_text_or_windows_are_measured_anew(tmp_path: Path) -> None:
    measure_sensitivity(request(tmp_path, INT3, layers=LAYERS[:1]), NullProgress())
    other = MeasureSensitivity(str(SAMPLE), "", (INT3,), LAYERS[:1], 3, 32, str(tmp_path))
    assert not measure_sensitivity(other, NullProgress()).cells[0].cached


def test_broken_cache_counts_as_empty(tmp_path: Path) -> None:
    measure_sensitivity(request(tmp_path, INT3, layers=LAYERS[:1]), NullProgress())
    (file,) = (tmp_path / "sensitivity").iterdir()
    file.write_text("{broken")
    assert not measure_sensitivity(request(tmp_path, INT3, layers=LAYERS[:1]), NullProgress()).cells[0].cached


def test_treatments_that_do_not_fit_are_noted_or_refused(tmp_path: Path) -> None:
    listener = Listener()
    found = measure_sensitivity(request(tmp_path, INT8, G128, layers=LAYERS[:1]), listener)
    assert [cell.treatment for cell in found.cells] == [INT8.tag]
    (warning,) = found.warnings
    assert "not measured with int4 g128, which does not fit" in warning
    assert LAYERS[0] in warning
    assert warning in listener.notes
    with pytest.raises(RecipeError, match="does not divide"):
        measure_sensitivity(request(tmp_path, G128), NullProgress())


def test_what_is_measured_otherwise_than_asked_is_told(tmp_path: Path) -> None:
    fallback = Treatment(Integer(group_size=128, indivisible="divisor"))
    everywhere = Treatment(Sparse(scope="global"))
    found = measure_sensitivity(request(tmp_path, fallback, everywhere, layers=LAYERS[:1]), NullProgress())
    assert [cell.treatment for cell in found.cells] == ["int4 g128", "50 % zeros global"]
    channel, alone = found.warnings
    assert "measured with int4 g128: one scale per channel, as the group size 128 does not divide 64" in channel
    assert "measured with 50 % zeros global: counted over the layer alone" in alone


def test_without_names_every_linear_layer_but_the_head_is_measured() -> None:
    layers = chosen_layers(open_checkpoint(SAMPLE), ())
    assert len(layers) == 5 * 7
    assert {layer.kind for layer in layers} == {"linear"}


def test_unknown_layer_is_told() -> None:
    with pytest.raises(CheckpointError, match=r"no layer 'model\.layers\.9'"):
        chosen_layers(open_checkpoint(SAMPLE), ("model.layers.9",))


@pytest.mark.parametrize("mode", ["dynamic", "static"])
def test_quantised_inputs_of_one_layer(tmp_path: Path, mode: str) -> None:
    name = "model.layers.2.mlp.down_proj"
    settings = Activations("int8", mode)  # type: ignore[arg-type]
    treatment = replace(INT8, activations=settings)
    found = measure_sensitivity(request(tmp_path, treatment, INT8, layers=(name,)), Listener())
    checkpoint = open_checkpoint(SAMPLE)
    ids = text_windows(checkpoint, "", 3, 48).ids
    model = load_model(OriginalWeights(checkpoint))
    module = model.get_submodule(name)
    seen: list[torch.Tensor] = []
    with torch.inference_mode():
        hook = module.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
        before = model(ids).logits.log_softmax(-1)
        hook.remove()
        scale = max(float(x.abs().max()) for x in seen) / 127.5
        module.weight.data = treated_weight(checkpoint.layer(name), INT8)

        def rounded(_: object, inputs: tuple[torch.Tensor]) -> tuple[torch.Tensor]:
            step = inputs[0].abs().amax(-1, keepdim=True) / 127.5 if mode == "dynamic" else scale
            return ((inputs[0] / step).round().clamp(-128, 127) * step,)

        module.register_forward_pre_hook(rounded)
        after = model(ids).logits.log_softmax(-1)
    expected = float((before.exp() * (before - after)).sum(-1).mean())
    assert found.cells[0].kl == pytest.approx(expected, rel=1e-3)
    assert found.cells[0].kl != found.cells[1].kl
    assert bool(found.warnings) == (mode == "static")


def test_inputs_that_stay_as_they_are_are_said(tmp_path: Path) -> None:
    treatment = replace(INT8, activations=Activations())
    found = measure_sensitivity(request(tmp_path, treatment, layers=("model.embed_tokens",)), Listener())
    assert "looked up" in found.warnings[0]


def test_a_changed_layer_is_measured_again_and_only_it(tmp_path: Path) -> None:
    folder = Path(shutil.copytree(SAMPLE, tmp_path / "model"))
    names = ("model.layers.0.mlp.up_proj", "model.layers.1.mlp.up_proj")
    ask = MeasureSensitivity(str(folder), "", (INT3,), names, 2, 32, str(tmp_path / "kept"))
    assert [cell.cached for cell in measure_sensitivity(ask, NullProgress()).cells] == [False, False]
    tensors = load_file(folder / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"] = tensors["model.layers.0.mlp.up_proj.weight"] * 1.5
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    again = measure_sensitivity(ask, NullProgress())
    assert {cell.layer: cell.cached for cell in again.cells} == {names[0]: False, names[1]: True}
    assert "have changed since they were measured" in again.warnings[0]


def test_sparing_one_is_what_the_others_leave(tmp_path: Path) -> None:
    ask = replace(request(tmp_path, INT3), method="disable_one")
    found = {cell.layer: cell.kl for cell in measure_sensitivity(ask, NullProgress()).cells}
    checkpoint = open_checkpoint(SAMPLE)
    ids = text_windows(checkpoint, "", 3, 48).ids

    def kl(treated: tuple[str, ...]) -> float:
        model = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)
        with torch.no_grad():
            before = model(ids).logits.double().log_softmax(-1)
            for name in treated:
                layer = checkpoint.layer(name)
                model.get_parameter(layer.tensor.name).copy_(treated_weight(layer, INT3))
            after = model(ids).logits.double().log_softmax(-1)
        return (before.exp() * (before - after)).sum(-1).mean().item()

    for name in LAYERS:
        others = tuple(other for other in LAYERS if other != name)
        assert found[name] == pytest.approx(max(0.0, kl(LAYERS) - kl(others)), rel=1e-3, abs=1e-6)


def test_estimates_rank_as_measured_ones(tmp_path: Path) -> None:
    treatments = (INT3, INT8, Treatment(Integer(bits=5, granularity="channel")), Treatment(Integer(bits=2)))
    ask = MeasureSensitivity(str(SAMPLE), "", treatments, (), 4, 64, str(tmp_path), method="fisher")
    estimated = measure_sensitivity(ask, NullProgress())
    assert {cell.method for cell in estimated.cells} == {"fisher"}
    assert estimated.rank_correlation is None
    measured = measure_sensitivity(replace(ask, method="enable_one"), NullProgress())
    assert measured.compared == len(measured.cells)
    expected = spearmanr([cell.kl for cell in estimated.cells], [cell.kl for cell in measured.cells]).statistic
    assert measured.rank_correlation == pytest.approx(expected, abs=1e-9)
    assert expected > 0.9


def test_with_little_time_the_rest_is_estimated(tmp_path: Path) -> None:
    ask = MeasureSensitivity(str(SAMPLE), "", (INT3, INT8), (), 2, 32, str(tmp_path), method="auto", seconds=0.0)
    found = measure_sensitivity(ask, NullProgress())
    assert len(found.cells) == 2 * 35
    assert {cell.method for cell in found.cells} == {"fisher"}
    whole = measure_sensitivity(replace(ask, seconds=1e6), NullProgress())
    assert {cell.method for cell in whole.cells} == {"enable_one"}
    assert whole.rank_correlation is not None


def test_what_layers_do_together_is_what_the_whole_recipe_does(tmp_path: Path) -> None:
    found = measure_sensitivity(replace(request(tmp_path, INT3), correct=True), NullProgress())
    (together,) = found.joint_effects
    assert together.added == pytest.approx(sum(cell.kl for cell in found.cells))
    recipe = Recipe((Rule(tuple(naming(name) for name in LAYERS), INT3),))
    run = compress(Compress(str(SAMPLE), recipe, str(tmp_path)), NullProgress())
    small = load_model(open_weights(f"run:{run.run}", str(tmp_path)))
    whole = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)
    parts = []
    for ids in (
        text_windows(open_checkpoint(SAMPLE), "", 3, 48).ids,
        text_windows(open_checkpoint(SAMPLE), "", 6, 48).ids[1::2],
    ):
        with torch.no_grad():
            before, after = whole(ids).logits.double().log_softmax(-1), small(ids).logits.double().log_softmax(-1)
        parts.append((before.exp() * (before - after)).sum(-1).mean().item())
    assert together.measured == pytest.approx(sum(parts) / 2, rel=1e-4)


def test_solvers_that_learn_are_shown_the_calibration_text(tmp_path: Path) -> None:
    learned = Treatment(Integer(bits=3, granularity="channel"), ErrorFeedback())
    ask = replace(request(tmp_path, learned, INT3), calibration=Calibration(windows=24, window_tokens=64))
    found = {(cell.layer, cell.treatment): cell for cell in measure_sensitivity(ask, NullProgress()).cells}
    for name in LAYERS[:2]:
        one, other = found[name, learned.tag], found[name, INT3.tag]
        assert one.output_error is not None
        assert other.output_error is not None
        assert one.output_error < other.output_error
        assert one.kl < other.kl


def test_an_unknown_method_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="no method 'guess'"):
        measure_sensitivity(replace(request(tmp_path, INT3), method="guess"), NullProgress())


def test_a_layer_that_breaks_the_model_has_infinite_kl(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    true = TreatedLayers.of

    def broken(self: TreatedLayers, layer: Layer, treatment: Treatment, progress: Progress) -> Treated:
        found = true(self, layer, treatment, progress)
        return replace(found, weight=found.weight * float("nan")) if layer.name == LAYERS[0] else found

    monkeypatch.setattr(TreatedLayers, "of", broken)
    found = measure_sensitivity(request(tmp_path, INT3), NullProgress())
    assert [math.isinf(cell.kl) for cell in found.cells] == [True, False, False]
    assert f"{LAYERS[0]}: with {INT3.tag} the outputs are no numbers any more" in found.warnings
    again = measure_sensitivity(request(tmp_path, INT3), NullProgress())
    assert again.cells[0].cached
    assert math.isinf(again.cells[0].kl)


def test_a_packed_folder_is_measured_as_the_network_that_it_holds(tmp_path: Path) -> None:
    recipe = Recipe((Rule(("linears",), INT8),))
    found = []
    for target in ("compressed-tensors", "dense"):
        benchvise.compress(SAMPLE, recipe, out=tmp_path / target, to=target, workspace=tmp_path / "ws")
        request = MeasureSensitivity(
            str(tmp_path / target), "", (INT3,), LAYERS[:1], windows=1, window_tokens=64, workspace=str(tmp_path / "ws")
        )
        found.append(measure_sensitivity(request, NullProgress()).cells[0].kl)
    assert found[0] == pytest.approx(found[1], rel=1e-4)
