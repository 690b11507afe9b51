"""Small random mixtures of experts, saved as `transformers` saves them: one matrix per expert."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

_DEFAULTS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "vocab_size": 61,
    "bos_token_id": 0,
    "eos_token_id": 1,
    "pad_token_id": 1,
}
_LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
_QWEN = {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16}
_ROUTED = {
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 16,
    "first_k_dense_replace": 1,
    "n_group": 1,
    "topk_group": 1,
    "n_shared_experts": 1,
}
_LATENT = {
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "num_key_value_heads": 4,
}
_MAMBA = {
    "mamba_num_heads": 4,
    "mamba_head_dim": 8,
    "ssm_state_size": 4,
    "n_groups": 1,
    "time_step_limit": [0.0, 1.0],
    "hybrid_override_pattern": "ME*",
}

EXPERT_MODELS: dict[str, dict[str, Any]] = {
    "mixtral": _LOCAL,
    "phimoe": _LOCAL,
    "qwen2_moe": _QWEN | {"shared_expert_intermediate_size": 24},
    "qwen3_moe": _QWEN | {"head_dim": 8},
    "olmoe": {"num_experts": 4, "num_experts_per_tok": 2},
    "deepseek_v2": _ROUTED | _LATENT | {"topk_method": "greedy"},
    "deepseek_v3": _ROUTED | _LATENT,
    "glm4_moe": _ROUTED | {"head_dim": 8},
    "ernie4_5_moe": {"moe_num_experts": 4, "moe_k": 2, "moe_intermediate_size": 16, "moe_num_shared_experts": 1},
    "jamba": {"num_experts": 4, "num_experts_per_tok": 2, "use_mamba_kernels": False},
    "nemotron_h": _ROUTED | _MAMBA,
}
"""Model types whose checkpoints hold one matrix per expert, with what makes them small."""

FUSED_MODELS: dict[str, dict[str, Any]] = {
    "gpt_oss": _LOCAL | {"head_dim": 8},
    "granitemoe": _LOCAL,
}
"""Model types whose checkpoints hold all experts of a module in one tensor."""


SPLIT_MODELS: dict[str, dict[str, Any]] = {"hrm_text": {}}
"""Model types, without experts, whose checkpoints hold tensors that are split on loading."""


def save_experts(model_type: str, folder: Path, **settings: Any) -> Path:
    """A random model of two blocks, hidden size 32 and 61 tokens, saved in `folder`."""
    known = EXPERT_MODELS | FUSED_MODELS | SPLIT_MODELS
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[model_type](**_DEFAULTS | known[model_type] | settings))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    model.save_pretrained(folder)
    return folder
