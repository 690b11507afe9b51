"""Names and configs of GGUF files as `transformers` has them, for the decoders that both know.

Source: gguf-py/gguf/tensor_mapping.py; convert_hf_to_gguf.py of llama.cpp.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from benchvise.core.checkpoint.formats.gguf_metadata import Listing

_BLOCK = re.compile(r"blk\.(\d+)\.(.+?)\.(weight|bias)$")
_OUTSIDE = {
    "token_embd": "model.embed_tokens", "output": "lm_head", "output_norm": "model.norm",
    "token_embd_norm": "model.embed_norm", "position_embd": "model.embed_positions",
}  # fmt: skip
_INSIDE = {
    "attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj", "attn_qkv": "self_attn.qkv_proj", "attn_output": "self_attn.o_proj",
    "attn_q_norm": "self_attn.q_norm", "attn_k_norm": "self_attn.k_norm", "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "ffn_gate_inp": "mlp.gate",
    "ffn_gate_inp_shexp": "mlp.shared_expert_gate", "ffn_gate_shexp": "mlp.shared_expert.gate_proj",
    "ffn_up_shexp": "mlp.shared_expert.up_proj", "ffn_down_shexp": "mlp.shared_expert.down_proj",
    "post_attention_norm": "post_attention_layernorm", "post_ffw_norm": "post_feedforward_layernorm",
}  # fmt: skip
_FOUR_NORMS = {"ffn_norm": "pre_feedforward_layernorm"}
_MIXTRAL = {"ffn_gate_inp": "block_sparse_moe.gate"}
_EXPERTS = {"ffn_gate_exps": "gate_proj", "ffn_up_exps": "up_proj", "ffn_down_exps": "down_proj"}
_MIXTRAL_EXPERTS = {"ffn_gate_exps": "w1", "ffn_up_exps": "w3", "ffn_down_exps": "w2"}


@dataclass(frozen=True)
class Family:
    """What an architecture of GGUF is called in `transformers`, and how its converter changed the tensors.

    pairs: rows of the projections of queries and keys were reordered; norm: what was added to the weights of norms.
    """

    model_type: str
    model_class: str
    pairs: bool = False
    norm: float = 0.0


FAMILIES: dict[str, Family] = {
    "llama": Family("llama", "LlamaForCausalLM", pairs=True),
    "mistral": Family("mistral", "MistralForCausalLM", pairs=True),
    "granite": Family("granite", "GraniteForCausalLM", pairs=True),
    "smollm3": Family("smollm3", "SmolLM3ForCausalLM", pairs=True),
    "qwen2": Family("qwen2", "Qwen2ForCausalLM"),
    "qwen3": Family("qwen3", "Qwen3ForCausalLM"),
    "qwen2moe": Family("qwen2_moe", "Qwen2MoeForCausalLM"),
    "qwen3moe": Family("qwen3_moe", "Qwen3MoeForCausalLM"),
    "phi3": Family("phi3", "Phi3ForCausalLM"),
    "gemma": Family("gemma", "GemmaForCausalLM", norm=1.0),
    "gemma2": Family("gemma2", "Gemma2ForCausalLM", norm=1.0),
    "gemma3": Family("gemma3_text", "Gemma3ForCausalLM", norm=1.0),
}
_MIXTRAL_FAMILY = Family("mixtral", "MixtralForCausalLM", pairs=True)

NOT_WEIGHTS = re.compile(r"rope_(freqs|factors_(long|short))\.weight$")
"""Tables of rotary frequencies, which follow from the config."""


def family_of(listing: Listing) -> Family | None:
    """The family of the file's architecture, None when it is not known here."""
    name = listing.text("general.architecture")
    if name == "llama" and listing.integer("llama.expert_count"):
        return _MIXTRAL_FAMILY
    return FAMILIES.get(name)


def names_of(name: str, family: Family, experts: int) -> list[str]:
    """The names in `transformers` of a tensor; one for each expert where it holds `experts` of them."""
    block = _BLOCK.match(name)
    if block is None:
        stem, _, leaf = name.rpartition(".")
        return [f"{_OUTSIDE[stem]}.{leaf}" if stem in _OUTSIDE else name]
    number, part, leaf = block.groups()
    mixtral = family.model_type == "mixtral"
    inside = _INSIDE | (_FOUR_NORMS if family.model_type.startswith(("gemma2", "gemma3")) else {})
    inside |= _MIXTRAL if mixtral else {}
    if family.model_type == "phi3" and part == "ffn_up":
        return [f"model.layers.{number}.mlp.gate_up_proj.{leaf}"]
    if part in _EXPERTS:
        place = "block_sparse_moe.experts" if mixtral else "mlp.experts"
        expert = (_MIXTRAL_EXPERTS if mixtral else _EXPERTS)[part]
        return [f"model.layers.{number}.{place}.{index}.{expert}.{leaf}" for index in range(experts)]
    return [f"model.layers.{number}.{inside.get(part, part)}.{leaf}"]


def config_of(listing: Listing, family: Family) -> dict[str, object]:
    """What a `config.json` of this model would say."""
    prefix = listing.text("general.architecture")
    config: dict[str, object] = {"architectures": [family.model_class], "model_type": family.model_type}
    fields = {
        "hidden_size": "embedding_length", "num_hidden_layers": "block_count",
        "intermediate_size": "feed_forward_length", "num_attention_heads": "attention.head_count",
        "num_key_value_heads": "attention.head_count_kv", "max_position_embeddings": "context_length",
        "head_dim": "attention.key_length", "sliding_window": "attention.sliding_window",
        "num_experts_per_tok": "expert_used_count", "moe_intermediate_size": "expert_feed_forward_length",
        "shared_expert_intermediate_size": "expert_shared_feed_forward_length",
        "num_local_experts" if family.model_type == "mixtral" else "num_experts": "expert_count",
    }  # fmt: skip
    config |= {key: found for key, name in fields.items() if (found := listing.integer(f"{prefix}.{name}")) is not None}
    numbers = {
        "rms_norm_eps": "attention.layer_norm_rms_epsilon", "rope_theta": "rope.freq_base",
        "attn_logit_softcapping": "attn_logit_softcapping", "final_logit_softcapping": "final_logit_softcapping",
        "embedding_multiplier": "embedding_scale", "residual_multiplier": "residual_scale",
        "attention_multiplier": "attention.scale", "logits_scaling": "logit_scale",
    }  # fmt: skip
    config |= {key: real for key, name in numbers.items() if (real := listing.number(f"{prefix}.{name}")) is not None}
    return config | _special_tokens(listing) | _from_tensors(listing, family, config) | _rope_scaling(listing, prefix)


def _special_tokens(listing: Listing) -> dict[str, object]:
    names = {"bos": "bos", "eos": "eos", "unknown": "unk", "padding": "pad"}
    found = {f"{short}_token_id": listing.integer(f"tokenizer.ggml.{name}_token_id") for name, short in names.items()}
    return {key: value for key, value in found.items() if value is not None and key != "unk_token_id"}


def _from_tensors(listing: Listing, family: Family, config: dict[str, object]) -> dict[str, object]:
    """What the shapes of the tensors say."""
    shapes = {tensor.name: tensor.shape for tensor in listing.tensors}
    found: dict[str, object] = {"tie_word_embeddings": "output.weight" not in shapes, "dtype": "float32"}
    embedding = shapes.get("token_embd.weight", ())
    if len(embedding) == 2:
        found["vocab_size"] = embedding[0]
    heads = config.get("num_attention_heads")
    queries = shapes.get("blk.0.attn_q.weight", ())
    if len(queries) == 2 and isinstance(heads, int) and heads > 0 and "head_dim" not in config:
        found["head_dim"] = queries[0] // heads
    if family.model_type in ("llama", "mistral", "granite", "qwen3", "smollm3"):
        found["attention_bias"] = "blk.0.attn_q.bias" in shapes
        found["mlp_bias"] = "blk.0.ffn_up.bias" in shapes
    return found


def _rope_scaling(listing: Listing, prefix: str) -> dict[str, object]:
    kind, factor = listing.text(f"{prefix}.rope.scaling.type"), listing.number(f"{prefix}.rope.scaling.factor")
    if kind not in ("linear", "yarn") or not factor:
        return {}
    original = listing.integer(f"{prefix}.rope.scaling.original_context_length")
    extent = {"original_max_position_embeddings": original} if original else {}
    return {"rope_scaling": {"rope_type": kind, "factor": factor} | extent}
