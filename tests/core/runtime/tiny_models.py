"""Small random models of many architectures, saved as `transformers` saves them."""

from __future__ import annotations

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

WIDTHS: dict[str, dict[str, int]] = {
    "gpt2": {"n_embd": 32, "n_layer": 3, "n_head": 4, "n_positions": 64, "n_inner": 48},
    "opt": {
        "hidden_size": 32,
        "num_hidden_layers": 3,
        "num_attention_heads": 4,
        "ffn_dim": 48,
        "word_embed_proj_dim": 32,
    },
    "bloom": {"hidden_size": 32, "n_layer": 3, "n_head": 4},
    "falcon": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4},
    "mixtral": {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen3_moe": {"num_experts": 4, "num_experts_per_tok": 2, "moe_intermediate_size": 16, "head_dim": 8},
    "gemma2": {"head_dim": 8, "sliding_window": 16},
    "gemma3_text": {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8},
    "qwen3": {"head_dim": 8},
    "mamba": {"hidden_size": 32, "num_hidden_layers": 3, "state_size": 4},
    "gpt_neox": {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 48},
}
"""Model types with what they need beside or instead of the default names."""

_DEFAULTS = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 3,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
}
_OWN_NAMES = {"gpt2", "opt", "bloom", "falcon", "mamba", "gpt_neox"}

ARCHITECTURES = ("llama", "mistral", "qwen2", "phi", *WIDTHS)


def save_tiny(model_type: str, folder: Path, *, tied: bool = False, dtype: torch.dtype = torch.float32) -> Path:
    """A random model of three layers, hidden size 32 and 61 tokens, saved in `folder`."""
    own = WIDTHS.get(model_type, {})
    settings = own if model_type in _OWN_NAMES else _DEFAULTS | own
    config = CONFIG_MAPPING[model_type](
        vocab_size=61, tie_word_embeddings=tied, bos_token_id=0, eos_token_id=1, pad_token_id=1, **settings
    )
    torch.manual_seed(7)
    model = AutoModelForCausalLM.from_config(config)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.05)
    model.to(dtype).save_pretrained(folder)
    return folder
