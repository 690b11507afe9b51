"""A model that reads a prompt and decodes token by token with its cache of keys and values, under the clock."""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass

import torch
from torch import Tensor, nn


@dataclass(frozen=True)
class DecodingTimes:
    """prefill_ms: from the prompt to the first token. step_ms: per further token of each sequence."""

    prefill_ms: float
    step_ms: float


@torch.inference_mode()
def decode(model: nn.Module, prompt: Tensor, tokens: int) -> DecodingTimes:
    """Read the prompt, int64 [batch, context], and decode `tokens` further tokens of each sequence.

    The most probable token is fed back, as in greedy decoding.
    """
    device = prompt.device
    settle(device)
    started = time.perf_counter()
    cache, fresh = read_prompt(model, prompt)
    settle(device)
    first = time.perf_counter()
    for _ in range(tokens):
        cache, fresh = one_step(model, cache, fresh)
    settle(device)
    return DecodingTimes((first - started) * 1000, (time.perf_counter() - first) * 1000 / tokens)


def read_prompt(model: nn.Module, prompt: Tensor) -> tuple[object, Tensor]:
    """The cache of the prompt [batch, context], and the first token, int64 [batch, 1]."""
    cache, logits = cached_step(model, prompt, last_alone=computes_last_alone(model))
    return cache, logits[:, -1:].argmax(-1)


def one_step(model: nn.Module, cache: object, fresh: Tensor) -> tuple[object, Tensor]:
    """The cache after one token of each sequence, int64 [batch, 1], and the next."""
    cache, logits = cached_step(model, fresh, cache)
    return cache, logits[:, -1:].argmax(-1)


def cached_step(
    model: nn.Module, ids: Tensor, cache: object = None, *, last_alone: bool = False
) -> tuple[object, Tensor]:
    """The cache after int64 ids [batch, tokens], and the logits [batch, tokens or 1, vocabulary] in the model's dtype.

    cache: of the tokens before, None for none. last_alone: compute the logits of the last token only.
    """
    parameters = inspect.signature(model.forward).parameters
    arguments: dict[str, object] = {"logits_to_keep": 1} if last_alone else {}
    if cache is not None:
        arguments["cache" if "cache" in parameters else "past_key_values"] = cache
    out = model(ids, use_cache=True, **arguments)
    after = out.get("cache")  # what transformers before 5.24 calls past_key_values
    return out.past_key_values if after is None else after, out.logits


def computes_last_alone(model: nn.Module) -> bool:
    """Whether the model can be asked for the logits of the last token only, as whoever generates text does."""
    return "logits_to_keep" in inspect.signature(model.forward).parameters


def random_prompt(vocabulary: int, context: int, device: torch.device, batch: int = 1) -> Tensor:
    """The same int64 [batch, context] ids each time."""
    generator = torch.Generator().manual_seed(0)
    return torch.randint(vocabulary, (batch, max(1, context)), generator=generator).to(device)


def settle(device: torch.device) -> None:
    """Wait until the device has done what it was told."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
