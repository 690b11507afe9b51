"""One layer's weight goes in and comes back exactly."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.replace import read_weight, replaced_weight
from benchvise.core.weights.weights import OriginalWeights
from tests.core.runtime.tiny_models import save_tiny

IDS = torch.arange(30)[None] % 61


def _logits(model: torch.nn.Module) -> torch.Tensor:
    with torch.inference_mode():
        found: torch.Tensor = model(IDS).logits
    return found


@pytest.mark.parametrize("name", ["model.layers.1.mlp.down_proj", "model.embed_tokens"])
@pytest.mark.parametrize("tied", [False, True])
def test_swap_is_felt_and_undone(tmp_path: Path, name: str, tied: bool) -> None:
    checkpoint = open_checkpoint(save_tiny("llama", tmp_path, tied=tied))
    model = load_model(OriginalWeights(checkpoint))
    layer = checkpoint.layer(name)
    before = _logits(model)
    own = model.get_parameter(layer.tensor.name).detach().clone()
    with replaced_weight(model, layer, own * 2):
        changed = _logits(model)
        assert (model.lm_head.weight is model.model.embed_tokens.weight) == tied
    assert not torch.equal(changed, before)
    assert torch.equal(_logits(model), before)
    assert torch.equal(model.get_parameter(layer.tensor.name), own)


def test_weight_comes_back_after_an_error(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_tiny("llama", tmp_path))
    model = load_model(OriginalWeights(checkpoint))
    before = _logits(model)
    layer = checkpoint.layer("model.layers.0.self_attn.q_proj")
    with pytest.raises(RuntimeError, match="stop"), replaced_weight(model, layer, torch.zeros(layer.shape)):
        raise RuntimeError("stop")
    assert torch.equal(_logits(model), before)


@pytest.mark.parametrize("model_type", ["mixtral", "qwen3_moe"])
def test_one_expert_is_swapped_alone(tmp_path: Path, model_type: str) -> None:
    weights = OriginalWeights(open_checkpoint(save_tiny(model_type, tmp_path)))
    model = load_model(weights)
    experts = [layer for layer in weights.checkpoint.layers if ".experts." in layer.name]
    before = _logits(model)
    for layer in experts[:6]:
        own = read_weight(model, layer)
        with replaced_weight(model, layer, weights.dense(layer) * 2):
            assert torch.equal(read_weight(model, layer), weights.dense(layer) * 2)
            assert torch.equal(own, weights.dense(layer)), "what was read does not change with the model"
            others = [other for other in experts if other is not layer]
            assert all(torch.equal(read_weight(model, other), weights.dense(other)) for other in others)
            assert not torch.equal(_logits(model), before)
        assert torch.equal(_logits(model), before)


def test_what_the_model_does_not_have_is_told(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_tiny("mixtral", tmp_path / "mixtral"))
    model = load_model(OriginalWeights(open_checkpoint(save_tiny("llama", tmp_path / "llama"))))
    layer = next(layer for layer in checkpoint.layers if "experts.0." in layer.name)
    with (
        pytest.raises(CheckpointError, match="fused with others"),
        replaced_weight(model, layer, torch.zeros(layer.shape)),
    ):
        pass
