"""Roles, kinds, depths and ties: models that transformers itself made are the oracle for names and layouts."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import transformers as tf
from safetensors.torch import save_file
from transformers.pytorch_utils import Conv1D

from benchvise.core.checkpoint.layers import layers_of
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.checkpoint.tying import tied_head
from tests.core.checkpoint.checkpoint_samples import described, write_safetensors

WIDTHS = {"vocab_size": 32, "hidden_size": 16, "intermediate_size": 24, "num_hidden_layers": 2,
          "num_attention_heads": 2, "max_position_embeddings": 16}  # fmt: skip
GROUPED = {**WIDTHS, "num_key_value_heads": 1}
EXPERTS = {"num_experts": 2, "num_experts_per_tok": 1, "moe_intermediate_size": 8, "shared_expert_intermediate_size": 8}

CONFIGS: dict[str, tf.PretrainedConfig] = {
    "llama": tf.LlamaConfig(**GROUPED),
    "mistral": tf.MistralConfig(**GROUPED),
    "mixtral": tf.MixtralConfig(**GROUPED, num_local_experts=2),
    "qwen2": tf.Qwen2Config(**GROUPED),
    "qwen2_moe": tf.Qwen2MoeConfig(**GROUPED, **EXPERTS),
    "qwen3": tf.Qwen3Config(**GROUPED, head_dim=8),
    "qwen3_moe": tf.Qwen3MoeConfig(**GROUPED, **EXPERTS, head_dim=8),
    "gemma": tf.GemmaConfig(**GROUPED, head_dim=8),
    "gemma2": tf.Gemma2Config(**GROUPED, head_dim=8),
    "gemma3": tf.Gemma3TextConfig(**GROUPED, head_dim=8),
    "phi": tf.PhiConfig(**WIDTHS),
    "phi3": tf.Phi3Config(**GROUPED, pad_token_id=0),
    "gpt2": tf.GPT2Config(vocab_size=32, n_embd=16, n_layer=2, n_head=2, n_positions=16),
    "gpt_neox": tf.GPTNeoXConfig(**WIDTHS),
    "opt": tf.OPTConfig(
        vocab_size=32, hidden_size=16, ffn_dim=24, num_hidden_layers=2, num_attention_heads=2, word_embed_proj_dim=16
    ),
    "falcon": tf.FalconConfig(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2),
}

ATTENTION = {"q_proj": "attention.q", "k_proj": "attention.k", "v_proj": "attention.v", "o_proj": "attention.o"}
GATED = {"gate_proj": "mlp.gate", "up_proj": "mlp.up", "down_proj": "mlp.down"}
LLAMA = ATTENTION | GATED | {"embed_tokens": "embedding"}
HEAD = {"lm_head": "lm_head"}
EXPERT = {leaf: role.replace("mlp.", "mlp.expert.") for leaf, role in GATED.items()}
TWO_STEPS = {"dense_h_to_4h": "mlp.up", "dense_4h_to_h": "mlp.down"}

ROLES: dict[str, dict[str, str]] = {
    "llama": LLAMA | HEAD,
    "mistral": LLAMA | HEAD,
    "mixtral": ATTENTION | HEAD | {"embed_tokens": "embedding", "gate": "mlp.router",
        "w1": "mlp.expert.gate", "w2": "mlp.expert.down", "w3": "mlp.expert.up"},
    "qwen2": LLAMA | HEAD,
    "qwen2_moe": ATTENTION | HEAD | EXPERT | {"embed_tokens": "embedding", "gate": "mlp.router",
        "shared_expert_gate": "mlp.router", "shared_expert.gate_proj": "mlp.shared_expert.gate",
        "shared_expert.up_proj": "mlp.shared_expert.up", "shared_expert.down_proj": "mlp.shared_expert.down"},
    "qwen3": LLAMA | HEAD,
    "qwen3_moe": ATTENTION | HEAD | EXPERT | {"embed_tokens": "embedding", "gate": "mlp.router"},
    "gemma": LLAMA,
    "gemma2": LLAMA,
    "gemma3": LLAMA,
    "phi": {**ATTENTION, **HEAD, "dense": "attention.o", "fc1": "mlp.up", "fc2": "mlp.down",
        "embed_tokens": "embedding"},
    "phi3": HEAD | {"qkv_proj": "attention.qkv", "o_proj": "attention.o", "gate_up_proj": "mlp.gate_up",
        "down_proj": "mlp.down", "embed_tokens": "embedding"},
    "gpt2": {"wte": "embedding", "wpe": "embedding.position", "c_attn": "attention.qkv", "attn.c_proj": "attention.o",
        "c_fc": "mlp.up", "mlp.c_proj": "mlp.down"},
    "gpt_neox": TWO_STEPS | {"embed_in": "embedding", "embed_out": "lm_head", "query_key_value": "attention.qkv",
        "dense": "attention.o"},
    "opt": {**ATTENTION, "out_proj": "attention.o", "fc1": "mlp.up", "fc2": "mlp.down", "embed_tokens": "embedding",
        "embed_positions": "embedding.position"},
    "falcon": TWO_STEPS | {"word_embeddings": "embedding", "query_key_value": "attention.qkv", "dense": "attention.o"},
    "bert": {"query": "attention.q", "key": "attention.k", "value": "attention.v",
        "attention.output.dense": "attention.o", "intermediate.dense": "mlp.up", "output.dense": "mlp.down",
        "word_embeddings": "embedding", "position_embeddings": "embedding.position",
        "token_type_embeddings": "embedding.type", "transform.dense": "linear"},
    "vit": {"query": "attention.q", "key": "attention.k", "value": "attention.v",
        "attention.output.dense": "attention.o", "intermediate.dense": "mlp.up", "output.dense": "mlp.down",
        "classifier": "classifier", "projection": "conv"},
}  # fmt: skip
"""The role of every layer that is no norm, bias or buffer, by the end of its name."""


KINDS: dict[type[torch.nn.Module], str] = {
    torch.nn.Linear: "linear", Conv1D: "linear", torch.nn.Conv2d: "conv", torch.nn.Embedding: "embedding",
}  # fmt: skip


def save(model: str, folder: Path) -> torch.nn.Module:
    if model == "bert":
        made: torch.nn.Module = tf.BertForMaskedLM(tf.BertConfig(**WIDTHS))
    elif model == "vit":
        config = tf.ViTConfig(**{**WIDTHS, "vocab_size": 0}, image_size=8, patch_size=4)
        made = tf.ViTForImageClassification(config)
    else:
        made = tf.AutoModelForCausalLM.from_config(CONFIGS[model])
    made.save_pretrained(folder)
    return made


def role_by_ending(layer: Layer, roles: dict[str, str]) -> str | None:
    """The role that the longest matching end of the name gives."""
    name = "." + layer.name
    endings = [ending for ending in roles if name.endswith("." + ending)]
    return roles[max(endings, key=len)] if endings else None


@pytest.mark.parametrize("model", ROLES)
def test_layers_of_a_real_model(tmp_path: Path, model: str) -> None:
    made = save(model, tmp_path)
    checkpoint = open_checkpoint(tmp_path)
    assert checkpoint.warnings == ()
    modules = dict(made.named_modules())
    for layer in checkpoint.layers:
        if layer.tensor.name.endswith("bias"):
            assert (layer.role, layer.kind) == ("bias", "bias"), layer.name
            assert layer.name.endswith("bias")
        elif len(layer.shape) == 1:
            assert (layer.role, layer.kind) == ("norm", "norm"), layer.name
        elif layer.tensor.name.endswith(".weight"):
            assert layer.role == role_by_ending(layer, ROLES[model]), layer.name
            for module_class, kind in KINDS.items():
                if isinstance(modules.get(layer.name), module_class):
                    assert layer.kind == kind, layer.name
            assert layer.transposed == isinstance(modules.get(layer.name), Conv1D), layer.name
    used = {role_by_ending(layer, ROLES[model]) for layer in checkpoint.layers} - {None}
    assert used == set(ROLES[model].values()), "every expected role was seen"


@pytest.mark.parametrize("model", ROLES)
def test_depth_and_order(tmp_path: Path, model: str) -> None:
    save(model, tmp_path)
    layers = open_checkpoint(tmp_path).layers
    for layer in layers:
        numbers = [int(part) for part in layer.tensor.name.split(".") if part.isdigit()]
        assert layer.depth == (numbers[0] if numbers else None), layer.name
    depths = [layer.depth for layer in layers]
    inside = [depth for depth in depths if depth is not None]
    assert inside == sorted(inside)
    first = depths.index(0)
    assert depths[first : first + len(inside)] == inside, "blocks stand together"
    if model != "vit":
        assert layers[0].role == "embedding"
    heads = [index for index, layer in enumerate(layers) if layer.role in ("lm_head", "classifier")]
    assert all(layer.role in ("bias", "lm_head", "classifier") for layer in layers[min(heads, default=len(layers)) :])


def test_the_way_of_the_data_through_a_block(tmp_path: Path) -> None:
    save("llama", tmp_path)
    block = [layer.name.rpartition(".")[2] for layer in open_checkpoint(tmp_path).layers if layer.depth == 1]
    assert block == ["input_layernorm", "q_proj", "k_proj", "v_proj", "o_proj", "post_attention_layernorm",
                     "gate_proj", "up_proj", "down_proj"]  # fmt: skip


TIED = {"llama": (), "gpt_neox": (), "gpt2": ("lm_head",), "gemma2": ("lm_head",), "opt": ("lm_head",),
        "falcon": ("lm_head",), "bert": ("cls.predictions.decoder",)}  # fmt: skip


@pytest.mark.parametrize("model", TIED)
def test_tied_heads(tmp_path: Path, model: str) -> None:
    made = save(model, tmp_path)
    embedding = next(layer for layer in open_checkpoint(tmp_path).layers if layer.role == "embedding")
    assert embedding.tied == TIED[model]
    for name in embedding.tied:
        assert made.get_submodule(name).weight is made.get_submodule(embedding.name).weight


@pytest.mark.parametrize(
    ("config", "tied"),
    [
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"], "tie_word_embeddings": True}, True),
        ({"model_type": "llama", "architectures": ["LlamaForCausalLM"]}, False),
        ({"model_type": "llama", "architectures": ["LlamaModel"], "tie_word_embeddings": True}, False),
        ({"model_type": "gemma", "architectures": ["GemmaForCausalLM"]}, True),
        ({"model_type": "gpt2", "architectures": ["GPT2LMHeadModel"]}, True),
        ({"model_type": "gpt2", "architectures": ["GPT2Model"]}, False),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
          "text_config": {"model_type": "gemma"}}, True),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
          "text_config": {"model_type": "llama", "tie_word_embeddings": True}}, True),
        ({"model_type": "llava", "architectures": ["LlavaForConditionalGeneration"],
          "text_config": {"model_type": "llama"}}, False),
        ({"tie_word_embeddings": True}, True),
        ({"model_type": "gpt2"}, False),
        ({}, False),
    ],
)  # fmt: skip
def test_ties_by_the_word_of_the_config(tmp_path: Path, config: dict[str, object], tied: bool) -> None:
    save_file({"model.embed_tokens.weight": torch.ones(8, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert open_checkpoint(tmp_path).layers[0].tied == (("lm_head",) if tied else ())


def test_defaults_of_ties_agree_with_transformers() -> None:
    for model, config in CONFIGS.items():
        head = tied_head({"model_type": config.model_type, "architectures": ["AnyForCausalLM"]})
        assert (head is not None) == type(config)().tie_word_embeddings, model


def test_a_stored_head_is_not_tied(tmp_path: Path) -> None:
    save_file({"wte.weight": torch.ones(8, 4), "lm_head.weight": torch.ones(8, 4)}, tmp_path / "model.safetensors")
    (tmp_path / "config.json").write_text('{"tie_word_embeddings": true}')
    assert all(layer.tied == () for layer in open_checkpoint(tmp_path).layers)


def test_gpt2_without_its_config(tmp_path: Path) -> None:
    save_file(
        {"h.0.attn.c_attn.weight": torch.ones(4, 12), "h.0.mlp.c_fc.weight": torch.ones(4, 16)},
        tmp_path / "x.safetensors",
    )
    assert all(layer.transposed for layer in open_checkpoint(tmp_path / "x.safetensors").layers)
    save_file(
        {"h.0.attn.c_attn.weight": torch.ones(12, 4), "h.0.mlp.c_fc.weight": torch.ones(16, 4)},
        tmp_path / "x.safetensors",
    )
    assert not any(layer.transposed for layer in open_checkpoint(tmp_path / "x.safetensors").layers)


UNKNOWN = [
    # name, dtype, shape, layer's name, role, kind, depth
    ("W", "F32", [2, 3], "W", "linear", "linear", None),
    ("enc.weight", "BF16", [2, 3], "enc", "linear", "linear", None),
    ("weight", "F32", [2, 3], "weight", "linear", "linear", None),
    ("stem.conv.weight", "F32", [2, 3, 3], "stem.conv", "conv", "conv", None),
    ("video.weight", "F32", [2, 3, 1, 1, 1], "video", "conv", "conv", None),
    ("too_deep.weight", "F32", [1] * 6, "too_deep", "other", "tensor", None),
    ("char_embedding.weight", "F32", [9, 3], "char_embedding", "embedding", "embedding", None),
    ("pos_embed", "F32", [1, 9, 3], "pos_embed", "embedding.position", "tensor", None),
    ("bn1.weight", "F32", [3], "bn1", "norm", "norm", None),
    ("bn1.running_mean", "F32", [3], "bn1.running_mean", "other", "tensor", None),
    ("bn1.num_batches_tracked", "I64", [], "bn1.num_batches_tracked", "other", "tensor", None),
    ("x.LayerNorm.gamma", "F32", [3], "x.LayerNorm.gamma", "norm", "norm", None),
    ("x.LayerNorm.beta", "F32", [3], "x.LayerNorm.beta", "bias", "bias", None),
    ("scale", "F32", [], "scale", "other", "tensor", None),
    ("layers.3.scalar", "F32", [1], "layers.3.scalar", "other", "tensor", 3),
    ("lstm.weight_ih_l0", "F32", [8, 3], "lstm.weight_ih_l0", "rnn", "linear", None),
    ("lstm.weight_hh_l0_reverse", "F32", [8, 2], "lstm.weight_hh_l0_reverse", "rnn", "linear", None),
    ("lstm.bias_ih_l0", "F32", [8], "lstm.bias_ih_l0", "bias", "bias", None),
    ("blocks.1.attn.in_proj_weight", "F32", [9, 3], "blocks.1.attn.in_proj_weight", "attention.qkv", "linear", 1),
    ("blocks.1.attn.in_proj_bias", "F32", [9], "blocks.1.attn.in_proj_bias", "bias", "bias", 1),
    ("blocks.1.attn.proj.weight", "F32", [3, 3], "blocks.1.attn.proj", "attention.o", "linear", 1),
    ("h.0.attn.bias", "BOOL", [1, 1, 4, 4], "h.0.attn.bias", "other", "tensor", 0),
    ("h.0.attn.masked_bias", "F32", [], "h.0.attn.masked_bias", "other", "tensor", 0),
    ("rotary_emb.inv_freq", "F32", [4], "rotary_emb.inv_freq", "other", "tensor", None),
    ("model.layers.0.mlp.experts.gate_up_proj", "BF16", [2, 4, 6], "model.layers.0.mlp.experts.gate_up_proj",
     "mlp.expert.gate_up", "tensor", 0),
    ("model.layers.0.mlp.experts.gate_up_proj_bias", "BF16", [2, 6], "model.layers.0.mlp.experts.gate_up_proj_bias",
     "bias", "bias", 0),
    ("model.layers.0.mlp.experts.7.novel.weight", "BF16", [4, 6], "model.layers.0.mlp.experts.7.novel",
     "mlp.expert.other", "linear", 0),
    ("layers.0.attention.wo.weight", "BF16", [4, 4], "layers.0.attention.wo", "attention.o", "linear", 0),
    ("layers.0.feed_forward.w2.weight", "BF16", [4, 4], "layers.0.feed_forward.w2", "mlp.down", "linear", 0),
    ("output.weight", "BF16", [8, 4], "output", "lm_head", "linear", None),
    ("ids", "I32", [2, 2], "ids", "other", "tensor", None),
    ("empty.weight", "F32", [0, 4], "empty", "linear", "linear", None),
    ("fp8.weight", "F8_E4M3", [4, 4], "fp8", "other", "tensor", None),
]  # fmt: skip


@pytest.mark.parametrize("case", UNKNOWN, ids=lambda case: case[0])
def test_tensors_of_unknown_networks(
    tmp_path: Path, case: tuple[str, str, list[int], str, str, str, int | None]
) -> None:
    name, code, shape, layer_name, role, kind, depth = case
    save_kind = {"F32": torch.float32, "BF16": torch.bfloat16, "I64": torch.int64, "I32": torch.int32,
                 "BOOL": torch.bool, "F8_E4M3": torch.float8_e4m3fn}[code]  # fmt: skip
    save_file({name: torch.zeros(shape).to(save_kind)}, tmp_path / "x.safetensors")
    layer = open_checkpoint(tmp_path / "x.safetensors").layers[0]
    assert (layer.name, layer.role, layer.kind, layer.depth) == (layer_name, role, kind, depth)


def test_names_that_would_collide_stay_whole(tmp_path: Path) -> None:
    header = {"a": described("F32", [1], 0, 4), "a.weight": described("F32", [1], 4, 8)}
    checkpoint = open_checkpoint(write_safetensors(tmp_path / "x.safetensors", header, bytes(8)))
    assert sorted(layer.name for layer in checkpoint.layers) == ["a", "a.weight"]


def test_numbers_sort_as_numbers(tmp_path: Path) -> None:
    names = [f"layers.{index}.weight" for index in (10, 2, 1)] + [f"part{index}" for index in (10, 9)]
    save_file({name: torch.zeros(2, 2) for name in names}, tmp_path / "x.safetensors")
    found = [layer.name for layer in open_checkpoint(tmp_path / "x.safetensors").layers]
    assert found == ["layers.1", "layers.2", "layers.10", "part9", "part10"]


@pytest.mark.parametrize(
    ("name", "rank", "role", "kind", "depth"),
    [
        ("backbone.layers.1.mixer.A_log", 2, "other", "tensor", 1),
        ("model.layers.0.altup.correction_coefs.weight", 2, "other", "tensor", 0),
        ("model.layers.3.block_sparse_moe.router.layer.weight", 2, "mlp.router", "linear", 3),
        ("model.layers.3.block_sparse_moe.input_linear.weight", 3, "mlp.expert.gate_up", "tensor", 3),
        ("model.layers.3.shared_mlp.output_linear.weight", 2, "mlp.down", "linear", 3),
        ("features.9.weight", 4, "conv", "conv", 9),
        ("_blocks.8.conv.weight", 4, "conv", "conv", 8),
        ("layer1.0.conv1.weight", 4, "conv", "conv", 0),
        ("transformer_blocks.3.proj.weight", 2, "linear", "linear", 3),
        ("mixers.0.fc.weight", 2, "linear", "linear", 0),
        ("encoder_layers.2.fc.weight", 2, "linear", "linear", 2),
        ("fc.weight", 2, "linear", "linear", None),
    ],
)
def test_roles_and_depths_of_further_names(name: str, rank: int, role: str, kind: str, depth: int | None) -> None:
    entry = TensorEntry(name, "float32", (4,) * rank, "x", 0, 4 ** (rank + 1))
    layer = layers_of([entry], {}, by_name=True)[0]
    assert (layer.role, layer.kind, layer.depth) == (role, kind, depth)
