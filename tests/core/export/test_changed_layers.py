"""Kept layers whose values a run changed: the export holds what the run computes, byte for byte."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.fold import Fold
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.open import open_weights
from tests.core.export.export_models import (
    SAMPLE,
    SIZES,
    export_run,
    integer_recipe,
    loaded_logits,
    make_run,
    save_model,
    workbench_logits,
)

FEW = Calibration(windows=4, window_tokens=24)
INT8 = Integer(8, granularity="channel")


def lively(folder: Path, kind: str, **settings: object) -> Path:
    """A small network with the sample's tokenizer, whose norms are not all ones and zeros."""
    save_model(folder, kind, torch.float32, vocab_size=512, **settings)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        (folder / name).write_bytes((SAMPLE / name).read_bytes())
    state = load_file(folder / "model.safetensors")
    generator = torch.Generator().manual_seed(1)
    for name, values in state.items():
        if values.dim() == 1:
            state[name] = values + 0.1 * torch.randn(values.shape, generator=generator)
    save_file(state, folder / "model.safetensors", {"format": "pt"})
    return folder


def transformed(*transforms: Transform, tuning: tuple[Tuning, ...] = ()) -> Recipe:
    return replace(integer_recipe(("linears", INT8)), calibration=FEW, transforms=transforms, tuning=tuning)


@pytest.mark.parametrize("target", ["dense", "compressed-tensors"])
@pytest.mark.parametrize(
    "recipe",
    [
        transformed(Fold()),
        transformed(Rotate()),
        transformed(tuning=(Polish(steps=2, batch_windows=2),)),
    ],
    ids=["fold", "rotate", "polish"],
)
def test_kept_layers_have_the_values_of_the_run(tmp_path: Path, recipe: Recipe, target: str) -> None:
    sizes = {name: size for name, size in SIZES.items() if name != "vocab_size"}
    checkpoint = lively(tmp_path / "model", "Llama", **sizes, tie_word_embeddings=False)
    run = make_run(checkpoint, recipe, tmp_path / "workspace")
    export_run(run, tmp_path / "out", tmp_path / "workspace", target)
    before = open_weights(f"run:{run}", str(tmp_path / "workspace"))
    after = open_weights(str(tmp_path / "out"))
    changed = [layer for layer in before.checkpoint.layers if before.changed(layer)]
    assert changed
    assert any(layer.kind == "norm" for layer in changed)
    assert any(not torch.equal(before.dense(layer), load_tensor(layer.tensor)) for layer in changed)
    for layer in before.checkpoint.layers:
        mirror = after.checkpoint.layer(layer.tensor.name)
        assert (mirror.dtype, mirror.shape) == (layer.dtype, layer.shape)
        assert torch.equal(before.dense(layer), after.dense(mirror))
    described = json.loads((tmp_path / "out" / "benchvise" / "run.json").read_text())
    assert described["changed"] == [layer.name for layer in changed]
    ours = workbench_logits(checkpoint, run, tmp_path / "workspace")
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-4)


def test_vectors_and_biases_of_turned_layers(tmp_path: Path) -> None:
    checkpoint = lively(tmp_path / "model", "GPT2", n_embd=64, n_layer=2, n_head=4, n_positions=64)
    run = make_run(checkpoint, transformed(Fold()), tmp_path / "workspace")
    export_run(run, tmp_path / "out", tmp_path / "workspace", "dense")
    before = open_weights(f"run:{run}", str(tmp_path / "workspace"))
    changed = {layer.kind for layer in before.checkpoint.layers if before.changed(layer)}
    assert {"norm", "bias"} <= changed
    written = {layer.tensor.name: layer for layer in open_checkpoint(tmp_path / "out").layers}
    for layer in before.checkpoint.layers:
        assert torch.equal(before.dense(layer), load_tensor(written[layer.tensor.name].tensor))


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize("observer", ["minmax", "entropy"])
def test_calibrated_scales_of_inputs_go_along(tmp_path: Path, observer: str, form: str) -> None:
    settings = Activations(form, "static", observer)  # type: ignore[arg-type]
    made = Recipe((Rule(("linears",), Treatment(INT8, activations=settings)),), name="test", calibration=FEW)
    run = make_run(SAMPLE, made, tmp_path / "workspace")
    export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    ids = torch.arange(24).view(2, 12) % 60
    with torch.inference_mode():
        ours = load_model(open_weights(f"run:{run}", str(tmp_path / "workspace")))(ids).logits
        again = load_model(open_weights(str(tmp_path / "out")))(ids).logits
    assert torch.equal(ours, again)
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-4)
