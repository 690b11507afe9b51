"""Every expert's matrix is found in the running model: proved by its values, which are all different."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.experts import expert_places, read_expert, write_expert
from benchvise.core.runtime.replace import holder_name, is_mixed, read_weight
from benchvise.core.weights.weights import OriginalWeights
from tests.core.runtime.tiny_experts import EXPERT_MODELS, FUSED_MODELS, save_experts


@pytest.mark.parametrize("model_type", EXPERT_MODELS)
def test_each_expert_lies_where_it_is_said_to(tmp_path: Path, model_type: str) -> None:
    weights = OriginalWeights(open_checkpoint(save_experts(model_type, tmp_path)))
    model = load_model(weights)
    layers = weights.checkpoint.layers
    places = expert_places(model, layers)
    assert {layer.name for layer in layers if layer.role.startswith("mlp.expert.")} == set(places)
    assert places == expert_places(architecture_of(weights.checkpoint).on_meta(), layers)
    for layer in layers:
        if layer.compressible:
            assert torch.equal(read_weight(model, layer), weights.dense(layer)), layer.name
        assert not is_mixed(model, layer), layer.name
        assert holder_name(model, layer) or not layer.compressible, layer.name
    fused = {place.name: model.get_parameter(place.name) for place in places.values()}
    assert sum(layer.parameters for layer in layers if layer.name in places) == sum(
        parameter.numel() for parameter in fused.values()
    )


@pytest.mark.parametrize("model_type", FUSED_MODELS)
def test_experts_fused_on_disk_are_whole_parameters(tmp_path: Path, model_type: str) -> None:
    weights = OriginalWeights(open_checkpoint(save_experts(model_type, tmp_path)))
    model = load_model(weights)
    assert expert_places(model, weights.checkpoint.layers) == {}
    assert all(holder_name(model, layer) for layer in weights.checkpoint.layers)


def test_what_is_written_is_read_and_nothing_else_changes(tmp_path: Path) -> None:
    weights = OriginalWeights(open_checkpoint(save_experts("qwen2_moe", tmp_path)))
    model = load_model(weights)
    places = expert_places(model, weights.checkpoint.layers)
    torch.manual_seed(0)
    written = {name: torch.randn_like(read_expert(model, place)) for name, place in places.items()}
    for name, place in places.items():
        write_expert(model, place, written[name])
    for layer in weights.checkpoint.layers:
        expected = written.get(layer.name, weights.dense(layer))
        assert torch.equal(read_weight(model, layer), expected), layer.name


def test_a_wrong_shape_is_refused(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_experts("mixtral", tmp_path))
    model = architecture_of(checkpoint).on_meta()
    place = next(iter(expert_places(model, checkpoint.layers).values()))
    with pytest.raises(ValueError, match="keeps"):
        write_expert(model, place, torch.zeros(3, 3))


def test_tensors_that_are_split_on_loading_are_told(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(save_experts("hrm_text", tmp_path))
    model = architecture_of(checkpoint).on_meta()
    mixed = {layer.role for layer in checkpoint.layers if is_mixed(model, layer)}
    whole = [layer for layer in checkpoint.layers if not is_mixed(model, layer)]
    assert mixed >= {"mlp.gate_up"}
    assert all(holder_name(model, layer) for layer in whole)
