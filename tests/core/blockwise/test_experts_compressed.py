"""Mixtures of experts compressed on calibration text, judged by `transformers` from the dense export."""

from __future__ import annotations

import shutil
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModelForCausalLM

from benchvise.core.blockwise.network import Network
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.export.export import export
from benchvise.core.job.job import compress
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Compress, Export
from benchvise.core.protocol.results import LayerCompressed, Run
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.weights import OriginalWeights

sys.path.insert(0, str(Path(__file__).parents[1] / "runtime"))
from tests.core.runtime.tiny_experts import save_experts

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
IDS = (torch.arange(4 * 48).reshape(4, 48) * 37) % 509
WEIGHTED = Nearest(clip_search=True, importance=True)
FEEDBACK = ErrorFeedback()


def model(model_type: str, folder: Path, **settings: Any) -> Path:
    """A tiny mixture of experts with the tokenizer of the sample model."""
    save_experts(model_type, folder, vocab_size=512, **settings)
    for name in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(SAMPLE / name, folder)
    return folder


def recipe(solver: Solver, *, bits: int = 3, windows: int = 8, window_tokens: int = 48) -> Recipe:
    scheme = Integer(bits=bits, symmetric=False, group_size=16, indivisible="divisor")
    rule = Rule(("linears",), Treatment(scheme, solver), ignore=("role:mlp.router",))
    return Recipe((rule,), calibration=Calibration(windows=windows, window_tokens=window_tokens))


class Listener(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def run(folder: Path, asked: Recipe, workspace: Path, listener: NullProgress | None = None) -> Run:
    return compress(Compress(str(folder), asked, workspace=str(workspace)), listener or NullProgress())


def logits(folder: Path) -> Tensor:
    loaded, report = AutoModelForCausalLM.from_pretrained(folder, output_loading_info=True)
    assert not any(report.values()), report
    with torch.no_grad():
        found: Tensor = loaded.eval()(IDS).logits.double()
    return found


def divergence(folder: Path, done: Run, workspace: Path) -> float:
    """Mean KL in nats, of the run exported as dense and loaded by `transformers`."""
    out = workspace / f"out-{done.run}"
    export(Export(done.run, "dense", str(out), str(workspace)), NullProgress())
    before, after = logits(folder).log_softmax(-1), logits(out).log_softmax(-1)
    return float((before.exp() * (before - after)).sum(-1).mean())


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe"])
def test_error_feedback_helps_mixtures_as_transformers_computes_them(tmp_path: Path, model_type: str) -> None:
    folder = model(model_type, tmp_path / "model")
    runs = [run(folder, recipe(solver, windows=64), tmp_path) for solver in (Nearest(), WEIGHTED, FEEDBACK)]
    plain, weighted, feedback = (divergence(folder, done, tmp_path) for done in runs)
    assert 0 < feedback < min(plain, weighted)
    assert weighted < 1.5 * plain, "on random weights a search in the inputs' light changes little"


@pytest.mark.parametrize(
    "model_type", ["mixtral", "phimoe", "qwen2_moe", "qwen3_moe", "olmoe", "deepseek_v2", "deepseek_v3"]
)
def test_one_block_at_a_time_has_weights(tmp_path: Path, model_type: str) -> None:
    weights = OriginalWeights(open_checkpoint(model(model_type, tmp_path)))
    network = Network(weights, NullProgress())
    assert not network.whole
    assert not network.notes
    whole = load_model(weights, device=network.device)
    ids = IDS[:2].to(network.device)
    hidden = network.enter(ids)
    for index in range(network.count):
        before = sum(len(set(part.stride())) > 1 for part in network.blocks[index].parameters())
        network.load(index)
        assert before == 0
        with torch.no_grad():
            hidden = network.run(index)(hidden)
        network.drop(index)
    with torch.no_grad():
        expected = whole(ids).logits
    torch.testing.assert_close(network.leave(hidden), expected, rtol=1e-5, atol=1e-5)


def test_each_expert_is_solved_on_its_own_inputs(tmp_path: Path) -> None:
    folder = model("mixtral", tmp_path / "model")
    done = run(folder, recipe(FEEDBACK, windows=16), tmp_path)
    experts = [layer for layer in done.layers if ".experts." in layer.name]
    assert len(experts) == 2 * 4 * 3
    assert not any("weights alone" in note or "all experts" in note for layer in experts for note in layer.notes)
    assert all(layer.output_error is not None and 0 < layer.output_error < 0.1 for layer in experts)


def test_experts_without_tokens_are_told_and_finite(tmp_path: Path) -> None:
    folder = model("deepseek_v3", tmp_path / "model")
    tensors = load_file(folder / "model.safetensors")
    bias = next(name for name in tensors if name.endswith("e_score_correction_bias"))
    tensors[bias] = torch.tensor([0.0, 0.0, -100.0, 0.0])
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    listener = Listener()
    done = run(folder, recipe(FEEDBACK, windows=16), tmp_path, listener)
    untouched = [layer for layer in done.layers if ".experts.2." in layer.name]
    assert len(untouched) == 3
    for layer in untouched:
        assert any("no calibration token; solved with the moments of all experts" in note for note in layer.notes)
    others = [layer for layer in done.layers if ".experts." in layer.name and layer not in untouched]
    assert not any("no calibration token" in note for layer in others for note in layer.notes)
    assert all(layer.sqnr_db is not None and layer.sqnr_db > 5 for layer in untouched)
    assert divergence(folder, done, tmp_path) < 1.0
    assert not any("memory" in note for note in listener.notes)


def test_experts_with_few_tokens_borrow(tmp_path: Path) -> None:
    folder = model("qwen2_moe", tmp_path / "model", num_experts=16, num_experts_per_tok=1)
    done = run(folder, recipe(FEEDBACK, windows=2, window_tokens=32), tmp_path)
    notes = [_note(layer) for layer in done.layers if ".experts." in layer.name]
    assert any("fewer calibration tokens" in note for note in notes)
    assert any("no calibration token" in note for note in notes)
    shared = [layer for layer in done.layers if ".shared_expert." in layer.name]
    assert shared
    assert not any("experts" in _note(layer) for layer in shared)


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe", "deepseek_v3", "phimoe"])
def test_routers_are_linear_layers_when_asked_for(tmp_path: Path, model_type: str) -> None:
    folder = model(model_type, tmp_path / "model")
    asked = recipe(FEEDBACK)
    rule = asked.rules[0]
    everything = replace(asked, rules=(replace(rule, targets=(*rule.targets, "role:mlp.router"), ignore=()),))
    routers = {layer.name for layer in open_checkpoint(folder).layers if layer.role == "mlp.router"}
    assert routers
    assert routers.isdisjoint(layer.name for layer in run(folder, asked, tmp_path).layers)
    found = [layer for layer in run(folder, everything, tmp_path).layers if layer.name in routers]
    assert len(found) == len(routers)
    assert all(layer.output_error is not None and "weights alone" not in _note(layer) for layer in found)


def _note(layer: LayerCompressed) -> str:
    return "; ".join(layer.notes)
