"""A checkpoint judged on text: perplexity, and how far it is from its original."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from core.errors import UserError
from core.evaluate.divergence import Diverged, Score, judge, score_batch
from core.evaluate.forward import all_logits, diverged, vocabulary_of
from core.evaluate.text import text_windows
from core.memory import PeakMemory
from core.progress import Progress
from core.protocol.requests import Evaluate
from core.protocol.results import Evaluation
from core.runtime.build import load_model
from core.weights.open import open_weights
from core.weights.weights import Weights

KEPT_LOGIT_BYTES = 1 << 30


def evaluate(request: Evaluate, progress: Progress) -> Evaluation:
    """Judge `request.source` on its text, against `request.against` when given. Progress is in tokens.

    Raises CheckpointError when a checkpoint cannot be run or its outputs are not numbers, UserError for a bad text.
    """
    started = time.perf_counter()
    weights = open_weights(request.source, request.workspace)
    original = open_weights(request.against, request.workspace) if request.against else None
    windows = text_windows((original or weights).checkpoint, request.text, request.windows, request.window_tokens)
    for note in windows.notes:
        progress.note(note)
    with PeakMemory() as peak:
        if original is None:
            progress.start(windows.tokens, "tokens")
            scores, before = _alone(weights, windows.ids, progress), None
        else:
            progress.start(2 * windows.tokens, "tokens")
            pair = _against(weights, original, windows.ids, progress)
            scores, before = pair.candidate, judge(pair.original)
    judgement = judge(scores)
    return Evaluation(
        source=request.source,
        perplexity=judgement.perplexity,
        tokens=windows.tokens,
        weight_bytes=weights.stored_bytes,
        peak_rss_bytes=peak.bytes,
        seconds=time.perf_counter() - started,
        kl_mean=judgement.kl_mean,
        kl_p99=judgement.kl_p99,
        top1_agreement=judgement.top1_agreement,
        against=request.against,
        perplexity_against=before.perplexity if before else None,
    )


def _alone(weights: Weights, ids: Tensor, progress: Progress) -> list[Score]:
    model = load_model(weights, progress=progress)
    scores = []
    for batch, logits in _advancing(model, ids, progress):
        scores.append(_score(logits, batch, None, weights))
    return scores


@dataclass(frozen=True)
class _Pair:
    candidate: list[Score]
    original: list[Score]


def _against(weights: Weights, original: Weights, ids: Tensor, progress: Progress) -> _Pair:
    """The original's logits are kept where they are few, so that only one model is in memory at a time."""
    reference = load_model(original, progress=progress)
    before: list[Score] = []
    vocabulary = vocabulary_of(reference)
    logits_before: Iterator[Tensor] = _scored(reference, original, ids, before, progress)
    if ids.numel() * vocabulary * 4 <= KEPT_LOGIT_BYTES:
        logits_before = iter(list(logits_before))
    del reference
    candidate = load_model(weights, progress=progress)
    if vocabulary_of(candidate) != vocabulary:
        raise UserError(
            f"The two models do not share a vocabulary: {vocabulary_of(candidate)} tokens against {vocabulary}",
            where=f"{weights.source} and {original.source}",
            remedy="Compare a compressed model with the checkpoint it was made from.",
        )
    after: list[Score] = []
    for batch, logits in _advancing(candidate, ids, progress):
        after.append(_score(logits, batch, next(logits_before), weights))
    return _Pair(after, before)


def _scored(
    model: nn.Module, weights: Weights, ids: Tensor, scores: list[Score], progress: Progress
) -> Iterator[Tensor]:
    for batch, logits in _advancing(model, ids, progress):
        scores.append(_score(logits, batch, None, weights))
        yield logits


def _advancing(model: nn.Module, ids: Tensor, progress: Progress) -> Iterator[tuple[Tensor, Tensor]]:
    for batch, logits in all_logits(model, ids):
        progress.advance(batch.numel())
        yield batch, logits


def _score(logits: Tensor, ids: Tensor, original: Tensor | None, weights: Weights) -> Score:
    try:
        return score_batch(logits, ids.to(logits.device), original)
    except Diverged as error:
        raise diverged(weights.source) from error
