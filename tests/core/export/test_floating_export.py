"""Floating layers: what loads packed computes what the run computes; what would not is dense, and says why."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchvise.core.errors import OutputError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from benchvise.core.wording import sentences
from tests.core.export.export_models import SIZES, export_run, loaded_logits, make_run, save_model, workbench_logits

SMALL = SIZES | {"intermediate_size": 96}


def recipe(*schemes: Scheme, activations: Activations | None = None) -> Recipe:
    targets = ("linears",) if len(schemes) == 1 else ("*.q_proj", "*.k_proj", "*.up_proj")
    rules = zip(targets, schemes, strict=False)
    return Recipe(tuple(Rule((at,), Treatment(scheme, activations=activations)) for at, scheme in rules), name="test")


@pytest.mark.parametrize(
    ("scheme", "form"),
    [
        (Floating(scales="weight"), "float-quantized"),
        (Floating(scales="weight", granularity="tensor"), "float-quantized"),
        (Floating(scales="weight", granularity="block", block_rows=40, block_columns=32), "float-quantized"),
        (Microscaling(), "mxfp4-pack-quantized"),
        (Microscaling(number="e4m3"), "mxfp8-quantized"),
        (NvFloat4(), "nvfp4-pack-quantized"),
    ],
    ids=lambda value: value.tag if isinstance(value, Scheme) else "",
)
def test_packed_floats(tmp_path: Path, scheme: Scheme, form: str) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.bfloat16, **SMALL)
    run = make_run(checkpoint, recipe(scheme), tmp_path / "workspace")
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace")
    assert exported.target == "compressed-tensors"
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert config["format"] == form
    ours = workbench_logits(checkpoint, run, tmp_path / "workspace")
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-2 * float(ours.abs().max()))
    before, after = open_weights(f"run:{run}", str(tmp_path / "workspace")), open_weights(str(tmp_path / "out"))
    for layer in before.checkpoint.layers:
        assert torch.equal(before.dense(layer), after.dense(after.checkpoint.layer(layer.tensor.name)))


def test_fp8_with_fp8_inputs(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.float32, **SMALL)
    made = recipe(Floating(), activations=Activations("fp8"))
    run = make_run(checkpoint, made, tmp_path / "workspace")
    export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert config["config_groups"]["group_0"]["input_activations"]["type"] == "float"
    plain = workbench_logits(checkpoint, run, tmp_path / "workspace")
    assert not torch.equal(loaded_logits(tmp_path / "out"), plain)


def test_several_forms_in_one_checkpoint(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.bfloat16, **SMALL)
    made = recipe(Floating(scales="weight"), NvFloat4(), Microscaling())
    run = make_run(checkpoint, made, tmp_path / "workspace")
    export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    config = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"]
    assert config["format"] == "mixed-precision"
    ours = workbench_logits(checkpoint, run, tmp_path / "workspace")
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-2 * float(ours.abs().max()))


@pytest.mark.parametrize(
    ("scheme", "dtype", "why"),
    [
        (Floating(), torch.bfloat16, "scales: weight"),
        (Floating(number="e5m2"), torch.float32, "E4M3 alone"),
        (Microscaling(number="e5m2"), torch.bfloat16, "E4M3 alone"),
        (Microscaling(), torch.float16, "decode mxfp4 to bfloat16"),
        (NvFloat4(), torch.float32, "decode nvfp4 to bfloat16"),
        (Microscaling(indivisible="pad"), torch.bfloat16, "blocks of 32 do not divide its 72 inputs"),
    ],
    ids=lambda value: value.tag if isinstance(value, Scheme) else "",
)
def test_floats_that_loaders_would_change_are_dense(
    tmp_path: Path, scheme: Scheme, dtype: torch.dtype, why: str
) -> None:
    sizes = SIZES | {"intermediate_size": 72 if "72" in why else 96}
    checkpoint = save_model(tmp_path / "model", "Llama", dtype, **sizes)
    made = Recipe((Rule(("*.down_proj",), Treatment(scheme)),), name="test")
    run = make_run(checkpoint, made, tmp_path / "workspace")
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace")
    assert exported.target == "dense"
    assert why in sentences(exported.warnings)[0]
    assert torch.equal(loaded_logits(tmp_path / "out"), workbench_logits(checkpoint, run, tmp_path / "workspace"))
    with pytest.raises(OutputError, match=why):
        export_run(run, tmp_path / "other", tmp_path / "workspace", "compressed-tensors")
