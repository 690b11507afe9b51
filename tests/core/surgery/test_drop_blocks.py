"""Dropping blocks by number: what is planned, what is refused, and the smaller network that transformers loads."""

from __future__ import annotations

import json
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.engine import answer
from benchvise.core.errors import RecipeError
from benchvise.core.evaluate.evaluate import evaluate
from benchvise.core.export.export import export
from benchvise.core.job.surgery_proof import prove_surgery
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.solver import Nearest
from benchvise.core.preflight import gather
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import CheckRecipe, Evaluate, Export
from benchvise.core.protocol.results import Checked
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.surgery.operate import operate
from benchvise.core.wording import sentence
from tests.core.blockwise.calibrated_models import VOCABULARY, recipe, tiny
from tests.core.job.compress_samples import run_recipe

SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 5, "num_attention_heads": 4}
GROUPED = SMALL | {"num_key_value_heads": 2, "max_position_embeddings": 128, "tie_word_embeddings": False}
NETWORKS: dict[str, tuple[dict[str, Any], str]] = {
    "llama": (GROUPED, "model.layers"),
    "qwen2": (GROUPED, "model.layers"),
    "gpt2": ({"n_embd": 32, "n_layer": 5, "n_head": 4, "n_positions": 128}, "transformer.h"),
    "bert": (SMALL, "encoder.layer"),
}
DROPPED = (1, 3)


def network(kind: str, folder: Path) -> nn.Module:
    """A random network of five blocks, saved; its biases and norms are not all equal."""
    torch.manual_seed(0)
    settings, _ = NETWORKS[kind]
    config = AutoConfig.for_model(kind, vocab_size=VOCABULARY, attn_implementation="eager", **settings)
    made = (AutoModel if kind == "bert" else AutoModelForCausalLM).from_config(config).eval()
    with torch.no_grad():
        for parameter in made.parameters():
            parameter.mul_(4) if parameter.dim() > 1 else parameter.add_(torch.rand_like(parameter) / 2)
    made.save_pretrained(folder)
    return made


def outputs(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        more = {} if model.config.model_type == "bert" else {"use_cache": False}
        found = model(torch.arange(24).reshape(2, 12) + 5, **more)
    return found["logits"] if "logits" in found else found["last_hidden_state"]


@pytest.mark.parametrize("kind", NETWORKS)
def test_the_exported_network_computes_what_the_original_does_without_those_blocks(tmp_path: Path, kind: str) -> None:
    original = network(kind, tmp_path / "original")
    asked = Recipe(surgery=(DropBlocks(DROPPED),))
    run = run_recipe(tmp_path / "original", tmp_path / "space", asked)
    exported = export(Export(f"run:{run.run}", "dense", str(tmp_path / "out"), str(tmp_path / "space")), NullProgress())
    stack = original.get_submodule(NETWORKS[kind][1])
    for number in reversed(DROPPED):
        del stack[number]
    loaded, said = type(original).from_pretrained(exported.out, output_loading_info=True, attn_implementation="eager")
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    assert len(loaded.get_submodule(NETWORKS[kind][1])) == 3
    torch.testing.assert_close(outputs(loaded.eval()), outputs(original), rtol=1e-6, atol=1e-6)
    written = sum(t.nbytes for t in load_file(Path(exported.out) / "model.safetensors").values())
    plan = make_plan(open_checkpoint(tmp_path / "original"), asked)
    assert plan.bytes_after == written == run.bytes_after < plan.bytes_before


def test_everything_after_surgery_works_on_what_is_left(tmp_path: Path) -> None:
    """Rules name layers as the checkpoint does; calibration, transforms' walk, polish, packing and judging follow."""
    folder = tiny("llama", tmp_path / "llama", num_hidden_layers=4)
    learned = recipe(targets=("model.layers.3.mlp.up_proj", "model.layers.1.mlp.up_proj"))
    asked = replace(learned, surgery=(DropBlocks((0, 2)),), tuning=(Polish(steps=2, batch_windows=2),))
    asked = replace(asked, rules=(Rule(("depth:2-3",), Treatment(Integer(4, group_size=8))), *asked.rules))
    plan = make_plan(open_checkpoint(folder), asked)
    assert {row.layer.depth for row in plan.treated_rows} == {0, 1}
    assert [r.layer.name for r in plan.treated_rows if r.rule == 1] == [f"model.layers.{n}.mlp.up_proj" for n in (0, 1)]
    assert all(row.layer.depth == 1 for row in plan.treated_rows if row.rule == 0)
    run = run_recipe(folder, tmp_path / "space", asked)
    judged = evaluate(
        Evaluate(f"run:{run.run}", "", against=str(folder), workspace=str(tmp_path / "space")), NullProgress()
    )
    assert judged.kl_mean is not None
    assert judged.kl_mean > 0
    packed = export(
        Export(f"run:{run.run}", "compressed-tensors", str(tmp_path / "out"), str(tmp_path / "space")), NullProgress()
    )
    config = json.loads((Path(packed.out) / "config.json").read_text())
    assert config["num_hidden_layers"] == 2
    assert "quantization_config" in config
    names = load_file(Path(packed.out) / "model.safetensors")
    assert "model.layers.1.mlp.up_proj.weight_packed" in names
    assert not any(".2." in name for name in names)


@pytest.mark.parametrize(
    ("blocks", "said"),
    [((5,), "no block 5"), ((0, 1, 2, 3, 4), "All blocks"), ((2, 7, 8, 9), "no block 7-9")],
)
def test_blocks_that_cannot_be_dropped_are_refused(tmp_path: Path, blocks: tuple[int, ...], said: str) -> None:
    network("llama", tmp_path / "original")
    with pytest.raises(RecipeError, match=said) as caught:
        run_recipe(tmp_path / "original", tmp_path / "space", Recipe(surgery=(DropBlocks(blocks),)))
    assert caught.value.remedy
    assert not (tmp_path / "space").exists()


def test_a_surgery_that_names_nothing_is_told_and_is_no_reason_to_run(tmp_path: Path) -> None:
    network("llama", tmp_path / "original")
    checkpoint, idle = open_checkpoint(tmp_path / "original"), Recipe(surgery=(DropBlocks(),))
    assert "changes nothing" in sentence(make_plan(checkpoint, idle, allow_empty=True).plan_warnings[0])
    with pytest.raises(RecipeError, match="treats no layer"):
        make_plan(checkpoint, idle)


def test_plain_tensors_and_shared_blocks_are_refused(tmp_path: Path) -> None:
    network("llama", tmp_path / "original")
    asked = Recipe(surgery=(DropBlocks((1,)),))
    (tmp_path / "plain").mkdir()
    shutil.copy(tmp_path / "original" / "model.safetensors", tmp_path / "plain")
    with pytest.raises(RecipeError, match=r"Without a config\.json"):
        make_plan(open_checkpoint(tmp_path / "plain"), asked)
    config = AutoConfig.for_model("albert", vocab_size=64, num_hidden_layers=4, **_albert())
    AutoModel.from_config(config).save_pretrained(tmp_path / "albert")
    with pytest.raises(RecipeError, match="blocks are shared"):
        make_plan(open_checkpoint(tmp_path / "albert"), asked)


def _albert() -> dict[str, int]:
    return {"hidden_size": 32, "embedding_size": 16, "intermediate_size": 48, "num_attention_heads": 4}


def test_lists_of_the_config_lose_the_entries_of_the_blocks_that_leave(tmp_path: Path) -> None:
    kinds = ["sliding_attention", "full_attention", "full_attention", "sliding_attention", "full_attention"]
    config = AutoConfig.for_model(
        "qwen2", vocab_size=64, use_sliding_window=True, sliding_window=4, layer_types=kinds, **GROUPED
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "qwen2")
    operated = operate(open_checkpoint(tmp_path / "qwen2"), (DropBlocks((0, 2)),))
    assert operated.checkpoint.config["layer_types"] == [kinds[1], kinds[3], kinds[4]]
    assert operated.checkpoint.config["num_hidden_layers"] == 3
    prove_surgery(operated)


def test_what_depends_on_the_number_of_a_block_is_refused_when_the_block_would_move(tmp_path: Path) -> None:
    settings = NETWORKS["gpt2"][0] | {"scale_attn_by_inverse_layer_idx": True}
    config = AutoConfig.for_model("gpt2", vocab_size=64, **settings)
    transformers.GPT2LMHeadModel(config).save_pretrained(tmp_path / "gpt2")
    checkpoint = open_checkpoint(tmp_path / "gpt2")
    prove_surgery(operate(checkpoint, (DropBlocks((4,)),)))
    with pytest.raises(RecipeError, match="scaling depends on the block's number"):
        prove_surgery(operate(checkpoint, (DropBlocks((0,)),)))


def test_the_check_before_a_run_finds_what_the_run_refuses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The network is built for the first check of a surgery only."""
    settings = NETWORKS["gpt2"][0] | {"scale_attn_by_inverse_layer_idx": True}
    transformers.GPT2LMHeadModel(AutoConfig.for_model("gpt2", vocab_size=64, **settings)).save_pretrained(tmp_path)
    rules = (Rule(("linears",), Treatment(Integer(8, granularity="channel"))),)
    refused = CheckRecipe(str(tmp_path), Recipe(rules, surgery=(DropBlocks((0,)),)))
    found = answer(refused, NullProgress())
    assert isinstance(found, Checked)
    assert not found.may_run
    (finding,) = (each for each in found.findings if each.kind == "surgery")
    assert "scaling depends on the block's number" in finding.title
    assert [fix.recipe.surgery for fix in finding.fixes if fix.recipe] == [()]
    with pytest.raises(RecipeError) as caught:
        run_recipe(tmp_path, tmp_path / "space", refused.recipe)
    assert caught.value.what == finding.title
    monkeypatch.setattr(gather, "prove_surgery", lambda _: pytest.fail("built again"))
    assert answer(refused, NullProgress()) == found


def test_surgeries_follow_one_another(tmp_path: Path) -> None:
    network("llama", tmp_path / "original")
    checkpoint = open_checkpoint(tmp_path / "original")
    twice = operate(checkpoint, (DropBlocks((0,)), DropBlocks((0,))))
    once = operate(checkpoint, (DropBlocks((0, 1)),))
    assert twice.checkpoint == once.checkpoint
    assert twice.origins == once.origins
    assert {layer.depth for layer in twice.dropped} == {0, 1}


def test_the_surgery_is_part_of_what_names_a_run(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "llama")
    rules = (Rule(("linears",), Treatment(Integer(4, group_size=8), Nearest())),)
    runs = [
        run_recipe(folder, tmp_path / "space", Recipe(rules, surgery=surgery), resume=True)
        for surgery in ((), (DropBlocks((0,)),), (DropBlocks((1,)),))
    ]
    assert len({run.run for run in runs}) == 3
    assert [len(run.layers) for run in runs] == [21, 14, 14]
    assert os.listdir(tmp_path / "space" / "runs")  # noqa: PTH208 - names are enough
