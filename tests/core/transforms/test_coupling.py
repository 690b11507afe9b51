"""Which layers read what, for every layout: a table, so that nothing stops being found without notice."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from benchvise.core.transforms.coupling import Structure, find_coupling
from benchvise.core.transforms.model_structure import ModelStructure
from tests.core.transforms.layouts import LAYOUTS

_ATTENTION = "input_layernorm > self_attn.q_proj self_attn.k_proj self_attn.v_proj"
_FEED_FORWARD = "post_attention_layernorm > mlp.gate_proj mlp.up_proj"
_PRODUCT = "mlp.up_proj > mlp.down_proj"
_LLAMA = {_ATTENTION, _FEED_FORWARD, "self_attn.v_proj > self_attn.o_proj / 8", _PRODUCT}
_SANDWICH = (_LLAMA - {_FEED_FORWARD}) | {"pre_feedforward_layernorm > mlp.gate_proj mlp.up_proj"}
_GPT2 = {"ln_1 > attn.c_attn", "ln_2 > mlp.c_fc", "attn.c_attn > attn.c_proj / 8"}
_NEOX = {
    "input_layernorm > attention.query_key_value",
    "post_attention_layernorm > mlp.dense_h_to_4h",
    "attention.query_key_value > attention.dense / 8",
}
_OPT_AFTER = {"self_attn.v_proj > self_attn.out_proj / 8", "fc1 > fc2"}
_OPT = _OPT_AFTER | {
    "self_attn_layer_norm > self_attn.q_proj self_attn.k_proj self_attn.v_proj",
    "final_layer_norm > fc1",
}


def _with_heads(groups: set[str], length: int) -> set[str]:
    return {group.replace("/ 8", f"/ {length}") for group in groups}


FEEDS: dict[str, set[str]] = {
    "llama": _LLAMA,
    "llama tied": _LLAMA,
    "llama biased": _LLAMA,
    "llama 36": _with_heads(_LLAMA, 12),
    "llama 30": _with_heads(_LLAMA, 10),
    "qwen2": _LLAMA,
    "qwen3": _with_heads(_LLAMA, 12),
    "mistral": _LLAMA,
    "gemma": _LLAMA,
    "gemma2": _SANDWICH,
    "gemma3_text": _SANDWICH,
    "phi": {_ATTENTION + " mlp.fc1", "self_attn.v_proj > self_attn.dense / 8"},
    "phi3": {
        "input_layernorm > self_attn.qkv_proj",
        "post_attention_layernorm > mlp.gate_up_proj",
        "self_attn.qkv_proj > self_attn.o_proj / 8",
        "mlp.gate_up_proj > mlp.down_proj",
    },
    "gpt2": _GPT2,
    "gpt2 tied": _GPT2,
    "gpt_neox": _NEOX,
    "gpt_neox serial": _NEOX,
    "opt": _OPT,
    "opt projected": _OPT,
    "opt post-norm": _OPT_AFTER,
    "bert": {"attention.self.value > attention.output.dense / 8"},
    "mixtral": {_ATTENTION, "self_attn.v_proj > self_attn.o_proj / 8"},
    "vit": {
        "layernorm_before > attention.q_proj attention.k_proj attention.v_proj",
        "layernorm_after > mlp.fc1",
        "attention.v_proj > attention.o_proj / 8",
    },
}


def described(structure: Structure) -> set[str]:
    return {
        f"{group.source} > {' '.join(consumer.name for consumer in group.consumers)}"
        + (f" / {group.head}" if group.head > 1 else "")
        for group in structure.groups
    }


@pytest.mark.parametrize("name", LAYOUTS)
def test_what_is_found_in_a_block(name: str) -> None:
    layout = LAYOUTS[name]
    model = layout.model()
    blocks = layout.blocks_of(model)
    model_structure = ModelStructure(model, blocks)
    for block in blocks:
        assert described(model_structure.of(block)[0]) == FEEDS[name]


def test_the_values_of_a_fused_layer_are_told_from_queries_and_keys() -> None:
    model = LAYOUTS["gpt_neox"].model()
    blocks = LAYOUTS["gpt_neox"].blocks_of(model)
    structure, _ = ModelStructure(model, blocks).of(blocks[0])
    (group,) = (group for group in structure.groups if not group.norm)
    assert group.rows.tolist() == [24 * head + 16 + channel for head in range(4) for channel in range(8)]


def test_grouped_values_reach_several_heads() -> None:
    model = LAYOUTS["llama"].model()
    blocks = LAYOUTS["llama"].blocks_of(model)
    structure, _ = ModelStructure(model, blocks).of(blocks[0])
    (group,) = (group for group in structure.groups if group.source == "self_attn.v_proj")
    heads = [0, 0, 1, 1]
    assert group.consumers[0].channels.tolist() == [8 * head + channel for head in heads for channel in range(8)]


def test_a_source_that_is_read_elsewhere_too_is_left_alone_and_told() -> None:
    class Leaking(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.LayerNorm(8)
            self.up = nn.Linear(8, 6)
            self.down = nn.Linear(6, 8)

        def forward(self, x: Tensor) -> Tensor:
            normed = self.norm(x)
            between = self.up(normed)
            return normed + self.down(between) + between.sum()

    torch.manual_seed(0)
    root = Leaking().requires_grad_(False)
    inputs = torch.randn(5, 8)
    structure = find_coupling(root, lambda: root(inputs), {8})
    assert structure.groups == ()
    assert structure.notes == ("norm is left alone: its output is read by more than up",)


def test_only_a_relu_lets_factors_through() -> None:
    inputs = torch.randn(64, 8)
    for activation, passes in ((nn.ReLU(), True), (nn.GELU(), False), (nn.SiLU(), False), (nn.Identity(), True)):
        torch.manual_seed(0)
        root = nn.Sequential(nn.Linear(8, 6), activation, nn.Linear(6, 8)).requires_grad_(False)
        structure = find_coupling(root, lambda root=root: root(inputs), {8})  # type: ignore[misc]
        assert bool(structure.groups) is passes, activation
