"""Folding and rotation on every layout: the same function, and a table of what each allows."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from benchvise.core.methods.fold import Fold
from benchvise.core.methods.rotate import Rotate
from benchvise.core.transforms.model_structure import ModelStructure
from benchvise.core.transforms.registry import rewrite_of
from benchvise.core.transforms.rotate import RotateNetwork
from benchvise.core.transforms.transform import NetworkRewrite
from tests.core.transforms.layouts import LAYOUTS, Layout, difference, outputs

TIED = {"llama tied", "gpt2 tied"}
SANDWICHED = {"gemma2", "gemma3_text"}
POST_NORM = {"bert", "opt post-norm"}
WITH_FUSED_EXPERTS = {"mixtral"}
BEFORE_A_HEAD_WITHOUT_BIAS = {
    "transformer.ln_f.bias",
    "gpt_neox.final_layer_norm.bias",
    "model.decoder.final_layer_norm.bias",
}
NOT_TURNED = TIED | SANDWICHED | POST_NORM | WITH_FUSED_EXPERTS


def transformed(
    name: str, settings: Fold | Rotate, model: nn.Module, seed: int = 3
) -> NetworkRewrite[Fold] | NetworkRewrite[Rotate]:
    blocks = LAYOUTS[name].blocks_of(model)
    transform = rewrite_of(settings)(settings, model, blocks, seed)
    transform.embedding_and_head(model)
    for index, block in enumerate(blocks):
        transform.block(block, index)
    return transform


def changed(model: nn.Module, before: nn.Module) -> set[str]:
    pairs = zip(model.named_parameters(), before.parameters(), strict=True)
    return {name for (name, parameter), old in pairs if not torch.equal(parameter, old)}


@pytest.mark.parametrize("name", LAYOUTS)
def test_folding_keeps_the_function_and_leaves_gains_of_one(name: str) -> None:
    model = LAYOUTS[name].model()
    expected, before = outputs(model), copy.deepcopy(model)
    transform = transformed(name, Fold(), model)
    assert difference(outputs(model), expected) < 1e-5
    gains = {part for part in changed(model, before) if "norm" in part.lower() or ".ln_" in part}
    folded = {"llama": 5, "gpt2": 10, "opt": 10, "vit": 10, "phi": 6, "gemma2": 5, "mixtral": 3, "gpt2 tied": 8}
    if name in folded:
        assert len(gains) == folded[name]
    if name in POST_NORM:
        assert any("is left alone" in note for note in transform.notes)
    if name in TIED:
        assert any("shares its weight with the embedding" in note for note in transform.notes)
    if name not in TIED | POST_NORM:
        assert transform.notes == ()
        offset = 1.0 if name.startswith("gemma") else 0.0
        for part in gains - BEFORE_A_HEAD_WITHOUT_BIAS:
            parameter = model.get_parameter(part)
            assert torch.equal(parameter, torch.full_like(parameter, 0.0 if part.endswith("bias") else 1 - offset))


@pytest.mark.parametrize("name", LAYOUTS)
def test_rotation_keeps_the_function_and_turns_what_the_layout_allows(name: str) -> None:
    layout = LAYOUTS[name]
    model = layout.model()
    expected, before = outputs(model), copy.deepcopy(model)
    transform = transformed(name, Rotate(), model)
    assert difference(outputs(model), expected) < 1e-5
    parts = changed(model, before)
    refused = [note for note in transform.notes if note.startswith("the residual stream is not turned")]
    assert bool(refused) == (name in NOT_TURNED)
    if name in NOT_TURNED:
        assert 4 <= len(parts) <= 6  # values and what reads them, in both blocks
        assert all(".attn." in part or "attention" in part or "self_attn" in part for part in parts)
    else:
        weights = {part for part, parameter in model.named_parameters() if parameter.dim() > 1}
        unturned = {"model.decoder.embed_tokens.weight", "lm_head.weight"} if name == "opt projected" else set()
        assert weights - parts == unturned


@pytest.mark.parametrize("name", ["llama", "gpt2", "vit"])
def test_the_seed_alone_decides(name: str) -> None:
    models = [LAYOUTS[name].model() for _ in range(3)]
    for model, seed in zip(models, (1, 1, 2), strict=True):
        transformed(name, Rotate(), model, seed)
    assert not changed(models[1], models[0])
    assert changed(models[2], models[0])


def test_weights_need_not_be_there_when_the_structure_is_found() -> None:
    layout = LAYOUTS["llama"]
    model, other = layout.model(), layout.model()
    transformed("llama", Rotate(), model)
    with torch.device("meta"):
        empty = layout.task.from_config(other.config).eval()
    for hollow in (empty, copy.deepcopy(other)):
        if hollow is not empty:
            for parameter in hollow.parameters():
                parameter.data = torch.zeros(()).expand(parameter.shape)
        transform = RotateNetwork(Rotate(), hollow, layout.blocks_of(hollow), 3)
        real = layout.model()
        transform.embedding_and_head(real)
        for index, block in enumerate(layout.blocks_of(real)):
            transform.block(block, index)
        assert not changed(real, model)


@pytest.mark.parametrize("name", sorted(TIED))
def test_a_tied_head_allows_rotation_when_the_last_gain_is_constant(name: str) -> None:
    model = LAYOUTS[name].model()
    last = model.get_submodule("model.norm" if name == "llama tied" else "transformer.ln_f")
    last.get_parameter("weight").fill_(1.7)
    expected = outputs(model)
    transform = transformed(name, Rotate(), model)
    assert transform.notes == ()
    assert difference(outputs(model), expected) < 1e-5
    assert model.get_input_embeddings().weight is model.get_output_embeddings().weight


def test_settings_choose_what_is_turned() -> None:
    for settings, touched in ((Rotate(residual=False), False), (Rotate(heads=False), True)):
        model = LAYOUTS["llama"].model()
        expected, before = outputs(model), copy.deepcopy(model)
        transformed("llama", settings, model)
        assert difference(outputs(model), expected) < 1e-5
        assert ("model.embed_tokens.weight" in changed(model, before)) is touched


def test_blocks_wait_for_the_ends() -> None:
    model = LAYOUTS["llama"].model()
    blocks = LAYOUTS["llama"].blocks_of(model)
    with pytest.raises(ValueError, match="come before"):
        RotateNetwork(Rotate(), model, blocks, 0).block(blocks[0], 0)


def test_rotation_does_not_depend_on_how_many_blocks_there_are() -> None:
    layout = LAYOUTS["llama"]
    deep = Layout("llama", layout.config | {"num_hidden_layers": 40}, name="llama with many blocks")
    model = deep.model()
    model_structure = ModelStructure(model, deep.blocks_of(model))
    assert model_structure.residual_refusals == ()
    assert [group.source for group in model_structure.embedding_and_head.groups] == ["model.norm"]
