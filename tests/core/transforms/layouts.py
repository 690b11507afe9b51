"""Tiny random models of many layouts, every parameter non-trivial."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    AutoModelForCausalLM,
    AutoModelForImageClassification,
    AutoModelForMaskedLM,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

VOCABULARY = 61

_DEFAULTS: dict[str, Any] = {
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 64,
    "tie_word_embeddings": False,
}
_UNGROUPED = {key: value for key, value in _DEFAULTS.items() if key != "num_key_value_heads"}
_GPT2 = {"n_embd": 32, "n_layer": 2, "n_head": 4, "n_positions": 64, "n_inner": 48, "tie_word_embeddings": False}
_OPT = _UNGROUPED | {"ffn_dim": 48, "word_embed_proj_dim": 32}


@dataclass(frozen=True)
class Layout:
    """A model type with its config; `blocks` is where its blocks lie."""

    model_type: str
    config: dict[str, Any]
    blocks: str = "model.layers"
    name: str = ""
    task: Any = field(default=AutoModelForCausalLM)

    @property
    def id(self) -> str:
        return self.name or self.model_type

    def model(self, seed: int = 7) -> nn.Module:
        """The model in evaluation mode; weights, gains and biases random."""
        config = CONFIG_MAPPING[self.model_type](
            vocab_size=VOCABULARY, bos_token_id=0, eos_token_id=1, pad_token_id=1, **self.config
        )
        torch.manual_seed(seed)
        model: nn.Module = self.task.from_config(config).eval().requires_grad_(False)
        for name, parameter in model.named_parameters():
            if parameter.dim() > 1:
                parameter.copy_(torch.randn_like(parameter) / parameter.shape[-1] ** 0.5)
            elif name.endswith("bias"):
                parameter.copy_(torch.randn_like(parameter) * 0.3)
            else:
                parameter.copy_(torch.rand_like(parameter) * 2 + 0.2)
        return model

    def blocks_of(self, model: nn.Module) -> list[nn.Module]:
        return list(model.get_submodule(self.blocks))  # type: ignore[arg-type]


LAYOUTS = {
    layout.id: layout
    for layout in (
        Layout("llama", _DEFAULTS),
        Layout("llama", _DEFAULTS | {"tie_word_embeddings": True}, name="llama tied"),
        Layout("llama", _DEFAULTS | {"attention_bias": True, "mlp_bias": True}, name="llama biased"),
        Layout(
            "llama",
            _DEFAULTS
            | {"hidden_size": 36, "intermediate_size": 50, "num_attention_heads": 3, "num_key_value_heads": 3},
            name="llama 36",
        ),
        Layout(
            "llama",
            _DEFAULTS | {"hidden_size": 30, "num_hidden_layers": 3, "num_attention_heads": 3, "num_key_value_heads": 1},
            name="llama 30",
        ),
        Layout("qwen2", _DEFAULTS),
        Layout("qwen3", _DEFAULTS | {"head_dim": 12}),
        Layout("mistral", _DEFAULTS),
        Layout("gemma", _DEFAULTS | {"head_dim": 8}),
        Layout("gemma2", _DEFAULTS | {"head_dim": 8, "sliding_window": 16}),
        Layout("gemma3_text", _DEFAULTS | {"head_dim": 8, "sliding_window": 16, "query_pre_attn_scalar": 8}),
        Layout("phi", _DEFAULTS),
        Layout("phi3", _DEFAULTS),
        Layout("gpt2", _GPT2, "transformer.h"),
        Layout("gpt2", _GPT2 | {"tie_word_embeddings": True}, "transformer.h", "gpt2 tied"),
        Layout("gpt_neox", _UNGROUPED, "gpt_neox.layers"),
        Layout("gpt_neox", _UNGROUPED | {"use_parallel_residual": False}, "gpt_neox.layers", "gpt_neox serial"),
        Layout("opt", _OPT, "model.decoder.layers"),
        Layout("opt", _OPT | {"word_embed_proj_dim": 24}, "model.decoder.layers", "opt projected"),
        Layout("opt", _OPT | {"do_layer_norm_before": False}, "model.decoder.layers", "opt post-norm"),
        Layout("bert", _UNGROUPED, "bert.encoder.layer", task=AutoModelForMaskedLM),
        Layout("mixtral", _DEFAULTS | {"num_local_experts": 4, "num_experts_per_tok": 2}),
        Layout(
            "vit",
            _UNGROUPED | {"image_size": 16, "patch_size": 4, "num_channels": 3, "num_labels": 5},
            "vit.layers",
            task=AutoModelForImageClassification,
        ),
    )
}


def outputs(model: nn.Module) -> Tensor:
    """Logits for inputs that are always the same."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        if model.main_input_name == "pixel_values":
            logits: Tensor = model(pixel_values=torch.randn(2, 3, 16, 16, generator=generator)).logits
        else:
            logits = model(input_ids=torch.randint(2, VOCABULARY, (3, 20), generator=generator)).logits
    return logits


def difference(given: Tensor, expected: Tensor) -> float:
    """Largest difference relative to the largest value."""
    return float((given - expected).abs().max() / expected.abs().max())
