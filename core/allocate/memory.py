"""What a model keeps in memory for each token of context, from its config alone."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_VALUE_BYTES = 2


def cache_bytes(config: Mapping[str, Any], context: int) -> int:
    """Bytes of keys and values for `context` tokens of one sequence, in 16 bits; 0 when the config does not tell."""
    inner = config.get("text_config")
    settings = inner if isinstance(inner, Mapping) else config
    layers = _first(settings, "num_hidden_layers", "n_layer")
    heads = _first(settings, "num_attention_heads", "n_head")
    width = _first(settings, "hidden_size", "n_embd")
    if not (layers and heads and width):
        return 0
    shared = _first(settings, "num_key_value_heads") or heads
    head = _first(settings, "head_dim") or width // heads
    return 2 * layers * shared * head * context * _VALUE_BYTES


def _first(settings: Mapping[str, Any], *names: str) -> int:
    return next((int(settings[name]) for name in names if isinstance(settings.get(name), int)), 0)
