"""Layers with quantised inputs: `transformers` computes from the export what the workbench computes from the run."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.export.choose_target import choose_plan
from benchvise.core.export.export import preview
from benchvise.core.export.targets.registry import target_of
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SAMPLE, SIZES, TOKENS, export_run, loaded_logits, make_run, save_model

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from tests.core.runtime.static_runs import static_weights

TOLERANCE = {torch.float32: 1e-5, torch.bfloat16: 5e-2}


def recipe(scheme: Scheme, activations: Activations, *targets: str) -> Recipe:
    return Recipe((Rule(targets or ("linears",), Treatment(scheme, activations=activations)),), name="test")


def our_logits(weights: Weights, dtype: torch.dtype) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = load_model(weights, dtype=dtype, device=torch.device("cpu"))(TOKENS).logits
    return found


def config_groups(folder: Path) -> list[dict[str, Any]]:
    config = json.loads((folder / "config.json").read_text())["quantization_config"]
    return list(config["config_groups"].values())


@pytest.mark.parametrize("form", ["int8", "fp8"])
@pytest.mark.parametrize(
    "scheme",
    [
        Integer(8, granularity="channel"),
        Integer(8, granularity="tensor"),
        Integer(8, group_size=32),
        Integer(8, symmetric=False, granularity="channel"),
        Integer(4, group_size=32),
        Integer(3, symmetric=False, granularity="channel"),
    ],
    ids=lambda scheme: scheme.tag,
)
def test_inputs_per_token(tmp_path: Path, scheme: Integer, form: str) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.float32, **SIZES | {"intermediate_size": 96})
    run = make_run(checkpoint, recipe(scheme, Activations(form)), tmp_path / "workspace")  # type: ignore[arg-type]
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace")
    assert exported.target == "compressed-tensors"
    ours = our_logits(open_weights(f"run:{run}", str(tmp_path / "workspace")), torch.float32)
    theirs = loaded_logits(tmp_path / "out")
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5 * float(ours.abs().max()))
    assert torch.equal(our_logits(open_weights(str(tmp_path / "out")), torch.float32), ours)
    (group,) = config_groups(tmp_path / "out")
    assert group["input_activations"]["strategy"] == "token"
    assert group["format"] == ("int-quantized" if scheme.bits == 8 else "pack-quantized")


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("form", ["int8", "fp8"])
def test_fixed_scales(tmp_path: Path, form: str, dtype: torch.dtype) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", dtype, **SIZES)
    settings = Activations(form, "static", observer="entropy")  # type: ignore[arg-type]
    weights = static_weights(checkpoint, recipe(Integer(8, granularity="channel"), settings), tmp_path, 2.0**-5)
    out = tmp_path / "out"
    write_folder(weights, out)
    ours, theirs = our_logits(weights, dtype), loaded_logits(out)
    torch.testing.assert_close(theirs, ours, rtol=0, atol=TOLERANCE[dtype] * float(ours.abs().max()))
    again = open_weights(str(out))
    assert torch.equal(our_logits(again, dtype), ours)
    layer = again.checkpoint.layer("model.layers.0.mlp.up_proj")
    found = again.treatment(layer).activations
    assert found is not None
    assert (found.format, found.mode) == (form, "static")
    assert set(again.stored(layer)) == {stored.name for stored in again.treatment(layer).storage(layer)}


def write_folder(weights: Weights, out: Path) -> None:
    """What an export writes, without a run of a workspace to write it from."""
    out.mkdir()
    plan = choose_plan("compressed-tensors", weights.checkpoint, weights.treatment, None)
    assert not plan.refusal
    target = target_of(plan.target)
    target.write(out, plan, weights, NullProgress())
    target.verify(out, plan, weights, NullProgress())


def test_a_dense_folder_says_that_its_inputs_stay_as_they_are(tmp_path: Path) -> None:
    made = recipe(Integer(8, granularity="channel"), Activations())
    run = make_run(SAMPLE, made, tmp_path / "workspace")
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace", "dense")
    assert "inputs of 35 layers are quantised in the run" in sentences(exported.warnings)[0]


def test_dense_layers_beside_packed_ones_say_it_too(tmp_path: Path) -> None:
    settings = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 60, "n_positions": 32}
    checkpoint = save_model(tmp_path / "model", "GPT2", torch.float32, **settings)
    opened: Checkpoint = open_weights(str(checkpoint)).checkpoint
    plan = preview(make_plan(opened, recipe(Integer(8, granularity="channel"), Activations())), "auto")
    assert plan.target == "dense"
    assert any("inputs of 8 layers" in warning for warning in sentences(plan.plan_warnings))


def test_observers_do_not_divide_layers_into_groups(tmp_path: Path) -> None:
    scheme = Integer(8, granularity="channel")
    made = Recipe(
        (
            Rule(("linears",), Treatment(scheme, activations=Activations(mode="static"))),
            Rule(("*.mlp.*",), Treatment(scheme, activations=Activations(mode="static", observer="mse"))),
        )
    )
    write_folder(static_weights(SAMPLE, made, tmp_path, 0.05), tmp_path / "out")
    assert len(config_groups(tmp_path / "out")) == 1
