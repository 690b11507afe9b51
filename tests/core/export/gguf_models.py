"""Tiny networks of the architectures that are written as GGUF, with random weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import transformers

_SIZES: dict[str, Any] = {
    "vocab_size": 96, "hidden_size": 64, "intermediate_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 128,
}  # fmt: skip
_EXPERTS: dict[str, Any] = {"num_experts_per_tok": 2, "moe_intermediate_size": 32}
_LONG = {
    "rope_type": "longrope", "rope_theta": 10000.0, "short_factor": [1.0 + 0.1 * i for i in range(8)],
    "long_factor": [2.0 + i for i in range(8)], "original_max_position_embeddings": 512,
}  # fmt: skip
_LLAMA3 = {
    "rope_type": "llama3", "rope_theta": 500.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}  # fmt: skip
_YARN = {
    "rope_type": "yarn", "rope_theta": 10000.0, "factor": 4.0, "original_max_position_embeddings": 32,
}  # fmt: skip

_DEEPSEEK: dict[str, Any] = {
    **_EXPERTS, "q_lora_rank": 16, "kv_lora_rank": 32, "qk_nope_head_dim": 16, "qk_rope_head_dim": 8, "v_head_dim": 24,
    "n_routed_experts": 4, "n_group": 2, "topk_group": 1, "first_k_dense_replace": 1, "num_key_value_heads": 4,
    "routed_scaling_factor": 1.5,
}  # fmt: skip

MODELS: dict[str, tuple[str, dict[str, Any]]] = {
    "llama": ("Llama", {"tie_word_embeddings": True}),
    "llama 3": ("Llama", {"rope_parameters": _LLAMA3, "attention_bias": True, "head_dim": 32}),
    "llama yarn": ("Llama", {"rope_parameters": _YARN}),
    "mistral": ("Mistral", {"head_dim": 32}),
    "mixtral": ("Mixtral", {"num_local_experts": 4, "num_experts_per_tok": 2}),
    "qwen2": ("Qwen2", {}),
    "qwen2moe": ("Qwen2Moe", {**_EXPERTS, "num_experts": 4, "shared_expert_intermediate_size": 48,
                              "norm_topk_prob": False}),
    "qwen3": ("Qwen3", {"head_dim": 32}),
    "qwen3moe": ("Qwen3Moe", {**_EXPERTS, "num_experts": 4, "head_dim": 32, "norm_topk_prob": True}),
    "gemma": ("Gemma", {"head_dim": 32}),
    "gemma2": ("Gemma2", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16}),
    "gemma3": ("Gemma3", {"head_dim": 32, "query_pre_attn_scalar": 32, "sliding_window": 16, "num_hidden_layers": 7}),
    "phi3": ("Phi3", {"pad_token_id": 0, "sliding_window": None}),
    "phi3 long": ("Phi3", {"pad_token_id": 0, "sliding_window": None, "rope_parameters": _LONG,
                           "original_max_position_embeddings": 512, "max_position_embeddings": 1024}),
    "olmo2": ("Olmo2", {"pad_token_id": 0}),
    "glm4": ("Glm4", {"head_dim": 32, "pad_token_id": 0}),
    "gpt-oss": ("GptOss", {"num_local_experts": 4, "num_experts_per_tok": 2, "head_dim": 32, "sliding_window": 16}),
    "starcoder2": ("Starcoder2", {}),
    "deepseek2": ("DeepseekV3", _DEEPSEEK),
    "deepseek2 yarn": ("DeepseekV3", {**_DEEPSEEK, "rope_parameters": {
        **_YARN, "mscale": 1.0, "mscale_all_dim": 1.0}}),
}  # fmt: skip


def save_gguf_model(name: str, folder: Path, dtype: torch.dtype = torch.float32) -> Path:
    """The network of that name in `folder`; norms and biases are random too, so that none is lost unseen."""
    kind, changes = MODELS[name]
    settings = {**_SIZES, **changes}
    config_class = getattr(transformers, f"{kind}TextConfig" if kind == "Gemma3" else f"{kind}Config")
    torch.manual_seed(0)
    network = getattr(transformers, f"{kind}ForCausalLM")(config_class(**settings))
    with torch.no_grad():
        for value in network.parameters():
            value.add_(torch.randn_like(value) * 0.15)
    network.to(dtype).save_pretrained(folder)
    return folder
