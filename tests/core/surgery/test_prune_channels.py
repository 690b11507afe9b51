"""Narrower feed-forward parts: exact plans, the network that transformers loads, what is refused, and killed jobs."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from transformers import AutoConfig, AutoModelForCausalLM

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.export.export import export
from benchvise.core.job import surgery_stage
from benchvise.core.job.surgery_proof import prove_surgery
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.prune_channels import PruneChannels
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Export
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.solvers.channels import kept_inputs
from benchvise.core.surgery.operate import operate
from benchvise.core.weights.open import open_weights
from benchvise.core.workspace.housekeeping import clean_up, remove_runs, usage_of
from benchvise.core.workspace.workspace import Workspace
from tests.core.blockwise.calibrated_models import VOCABULARY, tiny
from tests.core.job.compress_samples import digests, run_recipe

SHORT = Calibration(windows=2, window_tokens=32)
QUARTER = Recipe(surgery=(PruneChannels(0.25, 4),), calibration=SHORT)
GROUPED = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
           "num_key_value_heads": 2, "max_position_embeddings": 128}  # fmt: skip


def test_what_stays_makes_good_what_the_others_carried() -> None:
    """Inputs that others can stand for go first; the weight left is the least-squares one, by torch's own solver."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(400, 12, generator=generator, dtype=torch.float64)
    x[:, 7] = 2 * x[:, 1] - x[:, 4] + 1e-3 * x[:, 7]
    weight = torch.randn(5, 12, generator=generator, dtype=torch.float64)
    weight[:, 9] *= 1e-4
    kept, left = kept_inputs(weight, x.T @ x, 10)
    gone = set(range(12)) - set(kept.tolist())
    assert 9 in gone
    assert len(gone & {1, 4, 7}) == 1
    best = torch.linalg.lstsq(x[:, kept], x @ weight.T).solution.T
    assert torch.dist(left, best) < 0.02 * best.norm()
    heeded = torch.tensor([0.0, 0.0, 1.0, 0.0, 0.0], dtype=torch.float64)
    weight[2, 3] = 0.0
    for gradients in (heeded, heeded.diag()):
        assert 3 not in kept_inputs(weight, x.T @ x, 9, gradients)[0]
    same, whole = kept_inputs(weight, x.T @ x, 12)
    assert same.tolist() == list(range(12))
    torch.testing.assert_close(whole, weight)


@pytest.mark.parametrize(
    ("kind", "width"), [("llama", "intermediate_size"), ("gpt2", "n_inner"), ("phi3", "intermediate_size")]
)
def test_transformers_loads_the_narrower_network_and_computes_what_the_workbench_does(
    tmp_path: Path, kind: str, width: str
) -> None:
    """Gates, biases, transposed weights, and gate and value fused in one matrix."""
    folder = tiny(kind, tmp_path / kind) if kind != "phi3" else phi3(tmp_path / kind)
    plan = make_plan(open_checkpoint(folder), QUARTER)
    run = run_recipe(folder, tmp_path / "space", QUARTER)
    out = export(Export(f"run:{run.run}", "dense", str(tmp_path / "out"), str(tmp_path / "space")), NullProgress()).out
    written = sum(values.nbytes for values in load_file(Path(out) / "model.safetensors").values())
    assert plan.bytes_after == written == run.bytes_after < plan.bytes_before
    inner = 128 if kind == "gpt2" else 48
    assert json.loads((Path(out) / "config.json").read_text())[width] == inner * 3 // 4
    loaded, said = AutoModelForCausalLM.from_pretrained(out, output_loading_info=True, attn_implementation="eager")
    assert not said["missing_keys"]
    assert not said["unexpected_keys"]
    ours = load_model(open_weights(f"run:{run.run}", str(tmp_path / "space")), progress=NullProgress())
    torch.testing.assert_close(logits(loaded.eval()), logits(ours), rtol=1e-5, atol=1e-5)


def phi3(folder: Path) -> Path:
    config = AutoConfig.for_model("phi3", vocab_size=VOCABULARY, pad_token_id=0, **GROUPED)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(Path(__file__).parents[3] / "resources" / "sample" / name, folder)
    return folder


def logits(model: nn.Module) -> torch.Tensor:
    with torch.no_grad():
        return model(torch.arange(24).reshape(2, 12) + 5, use_cache=False).logits


def test_a_killed_job_goes_on_with_the_finished_surgery(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rules, and other surgeries before, work on what is left; the file goes with the last run that needs it."""
    folder, space = tiny("llama", tmp_path / "llama"), tmp_path / "space"
    asked = replace(QUARTER, surgery=(DropBlocks((0,)), *QUARTER.surgery))
    asked = replace(asked, rules=(Rule(("linears",), Treatment(Integer(4, group_size=4))),))
    whole = run_recipe(folder, tmp_path / "other", asked)

    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("benchvise.core.job.job.compress_streaming", killed)
        with pytest.raises(KeyboardInterrupt):
            run_recipe(folder, space, asked)
    with monkeypatch.context() as patch:
        patch.setattr(surgery_stage.SurgeryStage, "write", lambda *_: pytest.fail("cut again"))
        again = run_recipe(folder, space, asked, resume=True)
        eight = replace(asked, rules=(Rule(("linears",), Treatment(Integer(8, group_size=4))),))
        other = run_recipe(folder, space, eight)
    assert digests(space / "surgery") == digests(tmp_path / "other" / "surgery")
    assert len(again.layers) == len(whole.layers) == 14
    stored = [
        open_weights(f"run:{run.run}", str(place)) for run, place in ((again, space), (whole, tmp_path / "other"))
    ]
    for layer in stored[0].checkpoint.layers:
        assert torch.equal(stored[0].dense(layer), stored[1].dense(stored[1].checkpoint.layer(layer.name)))
    workspace = Workspace(str(space))
    clean_up(workspace)
    assert len(digests(space / "surgery")) == 1
    assert usage_of(workspace).unfinished_bytes == 0
    remove_runs(workspace, [again.run, other.run])
    assert not digests(space / "surgery")


@pytest.mark.parametrize("share", [-0.1, 1.0, 1.5])
def test_shares_that_leave_nothing_are_refused(tmp_path: Path, share: float) -> None:
    folder = tiny("llama", tmp_path / "llama")
    with pytest.raises(RecipeError):
        make_plan(open_checkpoint(folder), _parsed(share))


def _parsed(share: float) -> Recipe:
    from benchvise.core.recipe.recipe import parse_recipe

    text = f"benchvise: 1\nsurgery: [{{method: prune_channels, share: {share}}}]\nrules: []\n"
    return parse_recipe(text, where="test")


def test_what_cannot_be_told_or_proven_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    config = AutoConfig.for_model(
        "mixtral", vocab_size=VOCABULARY, num_local_experts=4, num_experts_per_tok=2, **GROUPED
    )
    AutoModelForCausalLM.from_config(config).save_pretrained(tmp_path / "mixtral")
    with pytest.raises(RecipeError, match=r"experts|no layers that give"):
        make_plan(open_checkpoint(tmp_path / "mixtral"), QUARTER)
    square = tiny("llama", tmp_path / "square", intermediate_size=32)
    with pytest.raises(RecipeError):
        make_plan(open_checkpoint(square), QUARTER)
    (square / "config.json").unlink()
    with pytest.raises(RecipeError, match=r"Without a config\.json"):
        make_plan(open_checkpoint(square), QUARTER)


def test_channels_that_something_else_uses_are_found_by_running(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same shapes, but a feed-forward part that also mixes its channels: every config and shape is right."""
    from transformers.models.llama.modeling_llama import LlamaMLP

    folder = tiny("llama", tmp_path / "llama")
    operated = operate(open_checkpoint(folder), QUARTER.surgery)
    prove_surgery(operated)

    def mixing(self: LlamaMLP, x: torch.Tensor) -> torch.Tensor:
        inner = self.act_fn(self.gate_proj(x)) * self.up_proj(x)
        return self.down_proj(inner / inner.norm(dim=-1, keepdim=True))

    monkeypatch.setattr(LlamaMLP, "forward", mixing)
    with pytest.raises(RecipeError, match="channels are used in other ways"):
        prove_surgery(operated)


def test_a_run_whose_surgery_file_is_gone_says_so(tmp_path: Path) -> None:
    folder, space = tiny("llama", tmp_path / "llama"), tmp_path / "space"
    run = run_recipe(folder, space, QUARTER)
    shutil.rmtree(space / "surgery")
    with pytest.raises(CheckpointError, match="missing from the workspace") as caught:
        open_weights(f"run:{run.run}", str(space))
    assert "--resume" in caught.value.remedy
    run_recipe(folder, space, QUARTER, resume=True)
    assert open_weights(f"run:{run.run}", str(space)).stored_bytes == run.bytes_after
