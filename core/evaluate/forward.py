"""A model run over windows of tokens, batch by batch."""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from benchvise.core.errors import CheckpointError

MAX_BATCH_WINDOWS = 8
BATCH_LOGIT_BYTES = 256 << 20


def batches(ids: Tensor, vocabulary: int) -> tuple[Tensor, ...]:
    """Ids [windows, tokens] in batches of at most eight windows whose float32 logits take about BATCH_LOGIT_BYTES."""
    per_window = ids.shape[1] * vocabulary * 4
    return torch.split(ids, max(1, min(MAX_BATCH_WINDOWS, BATCH_LOGIT_BYTES // per_window)))


def vocabulary_of(model: nn.Module) -> int:
    """How many logits the model gives per position."""
    head = model.get_output_embeddings()  # type: ignore[operator]
    if head is not None:
        return int(head.weight.shape[0])
    return int(model.config.get_text_config().vocab_size)  # type: ignore[union-attr, operator]


@torch.inference_mode()
def logits_of(model: nn.Module, ids: Tensor) -> Tensor:
    """Logits [windows, tokens, vocabulary] of ids, int64 [windows, tokens], in the model's dtype and on its device."""
    device = next(model.parameters()).device
    logits: Tensor = model(ids.to(device), use_cache=False).logits
    return logits


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
