"""The runtime is the oracle: `transformers` loads the export, and computes what the workbench computed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from benchvise.core.errors import OutputError
from benchvise.core.methods.integer import Integer
from benchvise.core.wording import sentences
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

# Weights are equal bit for bit; a strided weight may take another matrix product, which rounds once differently.
TOLERANCE = {torch.float32: 1e-5, torch.float16: 2e-3, torch.bfloat16: 2e-2}
SHAPES = (("tensor", 2), ("channel", 2), ("group", 32), ("group", 43), ("group", 64), ("group", 128))


def check(checkpoint: Path, recipe_rules: tuple[tuple[str, Integer], ...], folder: Path) -> Path:
    run = make_run(checkpoint, integer_recipe(*recipe_rules), folder / "workspace")
    out = folder / "out"
    exported = export_run(run, out, folder / "workspace", "compressed-tensors")
    assert exported.target == "compressed-tensors"
    ours = workbench_logits(checkpoint, run, folder / "workspace")
    theirs = loaded_logits(out)
    assert theirs.dtype == ours.dtype
    torch.testing.assert_close(theirs, ours, rtol=0, atol=TOLERANCE[ours.dtype] * float(ours.abs().max()))
    return out


@pytest.mark.parametrize("symmetric", [True, False], ids=["symmetric", "asymmetric"])
@pytest.mark.parametrize("bits", range(2, 9))
def test_every_width_and_granularity_in_one_checkpoint(tmp_path: Path, bits: int, symmetric: bool) -> None:
    dtype = torch.bfloat16 if bits % 2 else torch.float16
    checkpoint = save_model(tmp_path / "model", "Llama", dtype, **SIZES, tie_word_embeddings=False)
    targets = ("*.q_proj", "*.k_proj", "*.v_proj", "*.o_proj", "*.mlp.*", "lm_head")
    rules = tuple(
        (
            target,
            Integer(bits=bits, symmetric=symmetric, granularity=granularity, group_size=size, indivisible="divisor"),
        )
        for target, (granularity, size) in zip(targets, SHAPES, strict=True)
    )
    out = check(checkpoint, rules, tmp_path)
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert {group["weights"]["strategy"] for group in config["config_groups"].values()} == {
        "tensor",
        "channel",
        "group",
    }


@pytest.mark.parametrize("bits", [3, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_that_blocks_of_rows_share_are_written_for_each_row(tmp_path: Path, bits: int, symmetric: bool) -> None:
    checkpoint = save_model(tmp_path / "model", "Llama", torch.float32, **SIZES | {"intermediate_size": 100})
    blocks = Integer(bits, symmetric=symmetric, granularity="block", block_rows=16, group_size=32)
    out = check(checkpoint, (("linears", replace(blocks, indivisible="divisor")),), tmp_path)
    scale = load_file(out / "model.safetensors")["model.layers.0.mlp.up_proj.weight_scale"]
    assert scale.shape == (100, 2)
    assert torch.equal(scale[:16], scale[:1].expand(16, 2))


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("symmetric", [True, False])
def test_the_sample_model(tmp_path: Path, bits: int, symmetric: bool) -> None:
    scheme = Integer(bits=bits, symmetric=symmetric, group_size=128, indivisible="divisor")
    out = check(SAMPLE, (("linears", scheme),), tmp_path)
    config = json.loads((out / "config.json").read_text())["quantization_config"]
    assert config["ignore"] == ["lm_head"]
    assert next(iter(config["config_groups"].values()))["format"] == (
        "int-quantized" if bits == 8 and not symmetric else "pack-quantized"
    )
    assert {"LICENSE", "tokenizer.json", "generation_config.json"} <= {path.name for path in out.iterdir()}


@pytest.mark.parametrize(
    ("kind", "dtype", "settings"),
    [
        ("Qwen2", torch.bfloat16, SIZES),
        ("Phi3", torch.float16, SIZES | {"pad_token_id": 0}),
        ("GPTNeoX", torch.float32, {k: v for k, v in SIZES.items() if k != "num_key_value_heads"}),
        ("Mixtral", torch.bfloat16, SIZES | {"num_local_experts": 3, "intermediate_size": 96}),
    ],
)
def test_other_networks(tmp_path: Path, kind: str, dtype: torch.dtype, settings: dict[str, object]) -> None:
    checkpoint = save_model(tmp_path / "model", kind, dtype, **settings)
    scheme = Integer(bits=4, symmetric=False, group_size=32, indivisible="divisor")
    check(checkpoint, (("linears", scheme),), tmp_path)


def test_experts_of_another_treatment_than_the_rest(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "model", "Mixtral", torch.float32, **SIZES, num_local_experts=3)
    rules = (
        ("linears", Integer(bits=8, granularity="channel")),
        ("*.experts.*", Integer(bits=4, granularity="channel")),
    )
    check(checkpoint, rules, tmp_path)


def test_experts_that_differ_cannot_be_packed(tmp_path: Path) -> None:
    checkpoint = save_model(tmp_path / "model", "Mixtral", torch.float32, **SIZES, num_local_experts=3)
    rules = (("*.experts.0.*", Integer(granularity="channel")),)
    run = make_run(checkpoint, integer_recipe(*rules), tmp_path / "workspace")
    with pytest.raises(OutputError, match="experts"):
        export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    assert export_run(run, tmp_path / "out", tmp_path / "workspace").target == "dense"


def test_gpt2_has_nothing_that_can_be_packed(tmp_path: Path) -> None:
    settings = {"n_embd": 64, "n_layer": 2, "n_head": 4, "vocab_size": 60, "n_positions": 32}
    checkpoint = save_model(tmp_path / "model", "GPT2", torch.float32, **settings)
    rules = (("linears", Integer(granularity="channel")), ("embeddings", Integer(bits=8, granularity="channel")))
    run = make_run(checkpoint, integer_recipe(*rules), tmp_path / "workspace")
    with pytest.raises(OutputError, match="No layer"):
        export_run(run, tmp_path / "out", tmp_path / "workspace", "compressed-tensors")
    export_run(run, tmp_path / "out", tmp_path / "workspace", "dense")
    ours = workbench_logits(checkpoint, run, tmp_path / "workspace")
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-5)


def test_layers_that_cannot_be_packed_are_listed_and_dense(tmp_path: Path) -> None:
    rules = (("linears", Integer(granularity="channel")), ("embeddings", Integer(bits=8, granularity="channel")))
    run = make_run(SAMPLE, integer_recipe(*rules), tmp_path / "workspace")
    exported = export_run(run, tmp_path / "out", tmp_path / "workspace")
    assert exported.target == "compressed-tensors"
    assert [
        warning
        for warning in sentences(exported.warnings)
        if "model.embed_tokens" in warning and "tied to lm_head" in warning
    ]
    ours = workbench_logits(SAMPLE, run, tmp_path / "workspace")
    torch.testing.assert_close(loaded_logits(tmp_path / "out"), ours, rtol=0, atol=1e-4)


def test_a_dense_export_carries_every_tensor_of_the_original(tmp_path: Path) -> None:
    run = make_run(SAMPLE, integer_recipe(("linears", Integer(granularity="channel"))), tmp_path / "workspace")
    out = tmp_path / "out"
    export_run(run, out, tmp_path / "workspace", "dense")
    ours = workbench_logits(SAMPLE, run, tmp_path / "workspace")
    assert torch.equal(loaded_logits(out), ours)
    with safe_open(SAMPLE / "model.safetensors", "pt") as before, safe_open(out / "model.safetensors", "pt") as after:
        assert set(before.keys()) == set(after.keys())
        for name in set(before.keys()):
            assert before.get_tensor(name).dtype == after.get_tensor(name).dtype
            assert before.get_tensor(name).shape == after.get_tensor(name).shape
    assert "quantization_config" not in json.loads((out / "config.json").read_text())
