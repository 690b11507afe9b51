"""A model decoding token by token with its cache of keys and values, under the clock."""

from __future__ import annotations

import time

import torch
from torch import Tensor, nn


@torch.inference_mode()
def decode_ms(model: nn.Module, prompt: Tensor, tokens: int) -> float:
    """Milliseconds per token for `tokens` tokens after the prompt, int64 [1, context], which is not counted.

    The most probable token is fed back, as in greedy decoding.
    """
    device = prompt.device
    out = model(prompt, use_cache=True)
    cache = out.past_key_values
    fresh = out.logits[:, -1:].argmax(-1)
    _settle(device)
    started = time.perf_counter()
    for _ in range(tokens):
        out = model(fresh, past_key_values=cache, use_cache=True)
        cache = out.past_key_values
        fresh = out.logits[:, -1:].argmax(-1)
    _settle(device)
    return (time.perf_counter() - started) * 1000 / tokens


def random_prompt(vocabulary: int, context: int, device: torch.device) -> Tensor:
    """The same int64 [1, context] ids each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary, (1, max(1, context)), generator=generator).to(device)


def _settle(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
