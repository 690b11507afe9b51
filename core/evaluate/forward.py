"""A model run over windows of tokens, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.given import answer_of, has_logits, judged

MAX_BATCH_WINDOWS = 8
BATCH_LOGIT_BYTES = 256 << 20


def batches(ids: Tensor, vocabulary: int) -> tuple[Tensor, ...]:
    """Ids [windows, tokens] in batches of at most eight windows whose float32 logits take about BATCH_LOGIT_BYTES."""
    per_window = ids.shape[1] * vocabulary * 4
    return torch.split(ids, max(1, min(MAX_BATCH_WINDOWS, BATCH_LOGIT_BYTES // per_window)))


def vocabulary_of(model: nn.Module) -> int:
    """How many logits the model gives per position, or how wide its hidden states are at the least."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        return int(head.weight.shape[0])
    config: Any = model.config.get_text_config()  # type: ignore[union-attr, operator]
    return int(getattr(config, "vocab_size", 0) or getattr(config, "hidden_size", 1))


@torch.inference_mode()
def logits_of(model: nn.Module, ids: Tensor) -> Tensor:
    """Logits [windows, tokens, vocabulary] of ids, int64 [windows, tokens], in the model's dtype and on its device.

    For a network without logits its hidden states; for one that reads no text, what it gives for its inputs.
    """
    return judged(answer_of(model, ids))


@torch.inference_mode()
def gives_logits(model: nn.Module, given: Tensor) -> bool:
    """Whether the model's answer to `given`, int64 [windows, tokens] or float32 [samples, …], holds logits."""
    return has_logits(answer_of(model, given))


def all_logits(model: nn.Module, ids: Tensor) -> Iterator[tuple[Tensor, Tensor]]:
    """Pairs (ids of the batch, its logits) over all windows of ids, int64 [windows, tokens].

    Logits are [windows of the batch, tokens, vocabulary] in the model's dtype.
    """
    for batch in batches(ids, vocabulary_of(model)):
        yield batch, logits_of(model, batch)


def diverged(source: str) -> CheckpointError:
    """The error for a model whose outputs are not numbers."""
    return CheckpointError(
        "The model diverged: its outputs are not numbers (NaN)",
        where=source,
        remedy="Weights hold NaN or infinite values, or overflow: look for them with `benchvise inspect`, "
        "and compress the layers in question less.",
    )
