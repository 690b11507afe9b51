"""What a check says of a packed export is what `transformers` then does, for networks of every kind of trouble."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import OutputError
from benchvise.core.export.loader_modules import modules_of
from benchvise.core.methods.integer import Integer
from benchvise.core.preflight.check import check_recipe
from benchvise.core.preflight.gather import gather
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Checked
from tests.core.export.export_models import SIZES, export_run, integer_recipe, make_run

RECIPE = integer_recipe(("linears", Integer(8, granularity="channel")))
BASE: dict[str, Any] = {"vocab_size": 60, "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
VISION: dict[str, Any] = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 1, "num_attention_heads": 2, "image_size": 28,
    "patch_size": 14,
}  # fmt: skip
T = transformers


def llava() -> Any:
    text, vision = T.LlamaConfig(**SIZES), T.CLIPVisionConfig(**VISION)
    return T.LlavaForConditionalGeneration(T.LlavaConfig(text_config=text, vision_config=vision, image_token_index=50))


def gemma3() -> Any:
    text = T.Gemma3TextConfig(**SIZES, head_dim=16, pad_token_id=0)
    config = T.Gemma3Config(text_config=text, vision_config=T.SiglipVisionConfig(**VISION), mm_tokens_per_image=4)
    return T.Gemma3ForConditionalGeneration(config)


NETWORKS: dict[str, Any] = {
    "llama": lambda: T.LlamaForCausalLM(T.LlamaConfig(**SIZES)),
    "falcon": lambda: T.FalconForCausalLM(T.FalconConfig(**BASE)),
    "mamba": lambda: T.MambaForCausalLM(
        T.MambaConfig(vocab_size=60, hidden_size=64, num_hidden_layers=2, state_size=8)
    ),
    "t5": lambda: T.T5ForConditionalGeneration(
        T.T5Config(vocab_size=60, d_model=64, d_kv=16, d_ff=96, num_layers=1, num_heads=4, decoder_start_token_id=0)
    ),
    "vit": lambda: T.ViTForImageClassification(T.ViTConfig(**VISION, num_labels=4)),
    "llava": llava,
    "gemma3": gemma3,
    "llama4": lambda: T.Llama4ForCausalLM(
        T.Llama4TextConfig(**SIZES, head_dim=16, intermediate_size_mlp=96, num_local_experts=2)
    ),
}
PACKED_SHARE = {"llama": 1.0, "falcon": 0.0, "mamba": 0.5, "llava": 1.0, "llama4": 0.0}
"""How many of the Linear modules with a treatment are packed, where there is one right answer."""


def saved(kind: str, folder: Path) -> Path:
    torch.manual_seed(0)
    network = NETWORKS[kind]()
    network.save_pretrained(folder)
    return folder


def checked(checkpoint: Path, target: str = "auto") -> Checked:
    request = CheckRecipe(str(checkpoint), RECIPE, target, "transformers")
    return check_recipe(open_checkpoint(checkpoint), request, lambda plan: gather(plan, request))


@pytest.mark.parametrize("kind", NETWORKS)
def test_what_the_check_lets_pass_loads_with_the_same_values(kind: str, tmp_path: Path) -> None:
    checkpoint = saved(kind, tmp_path / "model")
    answer = checked(checkpoint)
    run, out = make_run(checkpoint, RECIPE, tmp_path / "work"), tmp_path / "out"
    exported = export_run(run, out, tmp_path / "work")
    export_run(run, tmp_path / "dense", tmp_path / "work", "dense")
    network = getattr(T, json.loads((out / "config.json").read_text())["architectures"][0])
    model, report = network.from_pretrained(out, output_loading_info=True, dtype=torch.float32)
    expected, expected_report = network.from_pretrained(
        tmp_path / "dense", output_loading_info=True, dtype=torch.float32
    )
    assert answer.loads
    assert {key: set(found) for key, found in report.items()} == {
        key: set(found) for key, found in expected_report.items()
    }
    names = [name.removesuffix(".weight_packed") for name in load_file(out / "model.safetensors")]
    if kind in PACKED_SHARE:
        stored = {layer.name for layer in open_checkpoint(checkpoint).layers if layer.kind == "linear"} - {"lm_head"}
        packed = {name for name in names if f"{name}.weight_packed" in load_file(out / "model.safetensors")}
        assert len(packed) == pytest.approx(PACKED_SHARE[kind] * len(stored), abs=2)
    tried = [finding for finding in answer.findings if finding.kind == "tried"]
    assert bool(tried) == (exported.target == "compressed-tensors")
    torch.testing.assert_close(weights_of(model), weights_of(expected))


def weights_of(model: Any) -> dict[str, torch.Tensor]:
    """Every parameter, packed modules decoded by the compressed-tensors library."""
    from compressed_tensors.compressors import decompress_module

    for module in model.modules():
        if getattr(module, "quantization_status", None) == "compressed":
            decompress_module(module)
    return {
        name: value.float() for name, value in model.state_dict().items() if not name.endswith(("_scale", "_shape"))
    }


def test_modules_that_the_loader_rebuilds_are_refused_by_name(tmp_path: Path) -> None:
    checkpoint = saved("llama4", tmp_path / "model")
    refused = next(
        finding for finding in checked(checkpoint, "compressed-tensors").findings if finding.level == "blocks"
    )
    assert "model.layers.0.feed_forward.experts" in refused.detail
    run = make_run(checkpoint, RECIPE, tmp_path / "work")
    with pytest.raises(OutputError, match="replaces 2 modules"):
        export_run(run, tmp_path / "out", tmp_path / "work", "compressed-tensors")


def test_modules_that_initialisation_touches_are_found(tmp_path: Path) -> None:
    found = modules_of(open_checkpoint(saved("mamba", tmp_path)))
    assert found is not None
    assert found.initialised == {
        f"backbone.layers.{n}.mixer.{part}" for n in (0, 1) for part in ("dt_proj", "out_proj")
    }
