"""The compressed-tensors library is the oracle: it decodes every packed layer to the run's values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.scheme import Scheme
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.weights.open import open_weights
from tests.core.export.export_models import SIZES, export_run, make_run, save_model

ROLES = ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj", "*.gate_proj", "*.up_proj", "*.down_proj")
W8A8 = Activations()
EVERY: tuple[Treatment, ...] = (
    *(Treatment(Integer(bits, group_size=32)) for bits in range(2, 9)),
    *(Treatment(Integer(bits, symmetric=False, group_size=32)) for bits in range(2, 9)),
    Treatment(Integer(8, granularity="channel"), activations=W8A8),
    Treatment(Integer(4, symmetric=False, granularity="channel")),
    Treatment(Floating(scales="weight"), activations=Activations("fp8")),
    Treatment(Microscaling()),
    Treatment(NvFloat4()),
)


def recipe(treatments: tuple[Treatment, ...]) -> Recipe:
    return Recipe(tuple(Rule((role,), treatment) for role, treatment in zip(ROLES, treatments, strict=False)), name="t")


def decoded(folder: Path) -> dict[str, torch.Tensor]:
    """Every packed weight by its layer's name, as the library decodes it by the folder's own config."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.quantization import QuantizationConfig

    config: Any = QuantizationConfig.model_validate(
        json.loads((folder / "config.json").read_text())["quantization_config"]
    )
    tensors = load_file(folder / "model.safetensors")
    found = {}
    for name in [name.removesuffix(".weight_scale") for name in tensors if name.endswith(".weight_scale")]:
        group = next(
            group for group in config.config_groups.values() if name in group.targets or "Linear" in group.targets
        )
        parts = {key.removeprefix(f"{name}."): value for key, value in tensors.items() if key.startswith(f"{name}.")}
        compressor: Any = BaseCompressor.get_value_from_registry(group.format)
        found[name] = compressor.decompress(parts, group)["weight"]
    return found


@pytest.mark.parametrize("start", range(0, len(EVERY), len(ROLES)))
@pytest.mark.parametrize("target", ["compressed-tensors", "compressed-tensors-vllm"])
def test_every_format_mixed_by_groups_decodes_to_the_run(tmp_path: Path, start: int, target: str) -> None:
    asked = recipe(EVERY[start : start + len(ROLES)])
    checkpoint = save_model(tmp_path / "model", "Llama", torch.bfloat16, **SIZES | {"intermediate_size": 96})
    run = make_run(checkpoint, asked, tmp_path / "work")
    export_run(run, tmp_path / "out", tmp_path / "work", target)
    weights = open_weights(f"run:{run}", str(tmp_path / "work"))
    found = decoded(tmp_path / "out")
    treated = {layer.name: layer for layer in weights.checkpoint.layers if not weights.treatment(layer).keeps}
    assert found.keys() == treated.keys()
    for name, layer in treated.items():
        torch.testing.assert_close(found[name].to(torch.bfloat16), weights.dense(layer), rtol=0, atol=0)


@pytest.mark.parametrize(("scheme", "bits"), [(Integer(4, symmetric=False, group_size=32), 4), (Integer(), 4)])
def test_zero_points_for_vllm_take_no_bit_more(tmp_path: Path, scheme: Scheme, bits: int) -> None:
    sizes = {"hidden_size": 128, "intermediate_size": 256, "vocab_size": 60, "num_hidden_layers": 1}
    checkpoint = save_model(tmp_path / "model", "Llama", torch.float16, **sizes, num_attention_heads=4)
    run = make_run(checkpoint, Recipe((Rule(("linears",), Treatment(scheme)),), name="t"), tmp_path / "work")
    exported = export_run(run, tmp_path / "out", tmp_path / "work", "auto:vllm")
    (group,) = json.loads((tmp_path / "out" / "config.json").read_text())["quantization_config"][
        "config_groups"
    ].values()
    assert exported.target == "compressed-tensors-vllm"
    assert (group["format"], group["weights"]["num_bits"]) == ("pack-quantized", bits)
    tensors = load_file(tmp_path / "out" / "model.safetensors")
    assert tensors["model.layers.0.mlp.up_proj.weight_packed"].shape == (256, 128 * bits // 32)
    if not scheme.elements.symmetric:
        assert tensors["model.layers.0.mlp.up_proj.weight_zero_point"].shape == (256 * bits // 32, 4)
    again = open_weights(str(tmp_path / "out"))
    mirror = again.checkpoint.layer("model.layers.0.mlp.up_proj")
    ours = open_weights(f"run:{run}", str(tmp_path / "work"))
    assert torch.equal(again.dense(mirror), ours.dense(ours.checkpoint.layer("model.layers.0.mlp.up_proj")))
