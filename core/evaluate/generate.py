"""Greedy text of two models side by side."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import nn

from benchvise.core.errors import UserError
from benchvise.core.evaluate.divergence import Diverged, log_probabilities
from benchvise.core.evaluate.forward import diverged
from benchvise.core.evaluate.pieces import text_pieces
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Generate
from benchvise.core.protocol.results import Generation, Generations
from benchvise.core.runtime.architecture import language_model_of
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.decode import cached_step
from benchvise.core.runtime.tokenizer import load_tokenizer
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights


def generate(request: Generate, progress: Progress) -> Generations:
    """Continue the prompt greedily with both models. Progress is in tokens; each text ends early at an end token.

    Raises CheckpointError when a model cannot be run or its outputs are not numbers, UserError for an empty prompt.
    """
    compressed = open_weights(request.source, request.workspace)
    original = open_weights(request.against or compressed.checkpoint.path, request.workspace)
    tokenizer = load_tokenizer(original.checkpoint)
    prompt = list(tokenizer(request.prompt, verbose=False)["input_ids"])
    if not prompt:
        raise UserError("The prompt is empty", remedy="Write the beginning of a text.")
    tokens = _fitting(len(prompt), request.tokens, original, progress)
    progress.start(2 * tokens, "tokens")
    before = _continue(original, prompt, tokens, progress)
    after = _continue(compressed, prompt, tokens, progress)
    return Generations(
        prompt=request.prompt,
        original=_as_text(tokenizer, prompt, *before),
        compressed=_as_text(tokenizer, prompt, *after),
        diverges_at=first_difference(before[0], after[0]),
    )


def first_difference(first: Sequence[int], second: Sequence[int]) -> int | None:
    """Index of the first token in which two texts differ, or where the shorter one ends; None when they are equal."""
    for index, (one, other) in enumerate(zip(first, second, strict=False)):
        if one != other:
            return index
    return None if len(first) == len(second) else min(len(first), len(second))


@torch.inference_mode()
def greedy(
    model: nn.Module, prompt: Sequence[int], tokens: int, ends: frozenset[int], progress: Progress
) -> tuple[list[int], list[float]]:
    """The most probable next token, again and again: ids and their log-probabilities. Raises Diverged."""
    device = next(model.parameters()).device
    fresh = torch.tensor([list(prompt)], device=device)
    cache: object = None
    ids: list[int] = []
    logprobs: list[float] = []
    for _ in range(tokens):
        cache, logits = cached_step(model, fresh, cache)
        row = log_probabilities(logits[0, -1])
        best = int(row.argmax())
        ids.append(best)
        logprobs.append(float(row[best]))
        progress.advance(1)
        if best in ends:
            break
        fresh = torch.tensor([[best]], device=device)
    return ids, logprobs


def end_tokens(weights: Weights) -> frozenset[int]:
    """The ids after which a text is over."""
    end = getattr(language_model_of(weights.checkpoint).config.get_text_config(), "eos_token_id", None)
    if isinstance(end, int):
        return frozenset({end})
    return frozenset(end) if isinstance(end, list | tuple) else frozenset()


def _continue(weights: Weights, prompt: list[int], tokens: int, progress: Progress) -> tuple[list[int], list[float]]:
    model = load_model(weights, progress=progress)
    try:
        ids, logprobs = greedy(model, prompt, tokens, end_tokens(weights), progress)
    except Diverged as error:
        raise diverged(weights.source) from error
    progress.advance(tokens - len(ids))
    return ids, logprobs


def _fitting(prompt: int, tokens: int, weights: Weights, progress: Progress) -> int:
    limit = language_model_of(weights.checkpoint).max_positions
    if limit is None or prompt + tokens <= limit:
        return tokens
    if prompt >= limit:
        raise UserError(
            f"The prompt has {prompt} tokens, and the model knows {limit} positions",
            where=weights.source,
            remedy="Shorten the prompt.",
        )
    progress.note(f"{limit - prompt} tokens instead of {tokens}: the model knows no more positions")
    return limit - prompt


def _as_text(tokenizer: Any, prompt: list[int], ids: list[int], logprobs: list[float]) -> Generation:
    def decode(some: Sequence[int]) -> str:
        return str(tokenizer.decode(list(some), skip_special_tokens=True, clean_up_tokenization_spaces=False))

    return Generation(text_pieces(decode, prompt, ids), tuple(logprobs))
