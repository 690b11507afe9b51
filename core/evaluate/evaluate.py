"""A checkpoint judged on text: perplexity, and how far it is from its original."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

from torch import Tensor, nn

from benchvise.core.errors import UserError
from benchvise.core.evaluate.divergence import Diverged, Score, judge, score_batch
from benchvise.core.evaluate.forward import all_logits, diverged, vocabulary_of
from benchvise.core.evaluate.outputs import evaluate_outputs
from benchvise.core.evaluate.text import text_windows
from benchvise.core.memory import PeakMemory, release_freed
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Evaluate
from benchvise.core.protocol.results import Evaluation
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.open import open_weights
from benchvise.core.weights.weights import Weights

KEPT_LOGIT_BYTES = 1 << 30


def evaluate(request: Evaluate, progress: Progress) -> Evaluation:
    """Judge `request.source` on its text, against `request.against` when given. Progress is in tokens.

    Networks that predict no next tokens are judged as `evaluate_outputs` does.

    Raises CheckpointError when a checkpoint cannot be run or its outputs are not numbers, UserError for a bad text.
    """
    started = time.perf_counter()
    weights = open_weights(request.source, request.workspace)
    original = open_weights(request.against, request.workspace) if request.against else None
    windows = text_windows((original or weights).checkpoint, request.text, request.windows, request.window_tokens)
    for note in windows.notes:
        progress.note(note)
    if not architecture_of((original or weights).checkpoint).predicts_tokens:
        return evaluate_outputs(request, weights, original, windows, progress)
    progress.start((1 if original is None else 2) * windows.tokens, "tokens")
    before: _Judged | None = None
    if original is None:
        after = _alone(weights, windows.ids, progress)
    else:
        after, before = _against(weights, original, windows.ids, progress)
    judgement = judge(after.scores)
    return Evaluation(
        source=request.source,
        perplexity=judgement.perplexity,
        tokens=windows.tokens,
        weight_bytes=weights.stored_bytes,
        peak_rss_bytes=after.peak_rss_bytes,
        seconds=time.perf_counter() - started,
        kl_mean=judgement.kl_mean,
        kl_p99=judgement.kl_p99,
        top1_agreement=judgement.top1_agreement,
        against=request.against,
        perplexity_against=judge(before.scores).perplexity if before else None,
        weight_bytes_against=original.stored_bytes if original else None,
        peak_rss_bytes_against=before.peak_rss_bytes if before else None,
    )


@dataclass(frozen=True)
class _Judged:
    """One side: its scores, and the process's resident memory at its highest meanwhile."""

    scores: list[Score]
    peak_rss_bytes: int


def _alone(weights: Weights, ids: Tensor, progress: Progress) -> _Judged:
    with PeakMemory() as peak:
        model = load_model(weights, progress=progress)
        scores = [_score(logits, batch, None, weights) for batch, logits in _advancing(model, ids, progress)]
    return _Judged(scores, peak.bytes)


def _against(weights: Weights, original: Weights, ids: Tensor, progress: Progress) -> tuple[_Judged, _Judged]:
    """Both sides, the original last. Its logits are kept where they are few, so that one model is there at a time."""
    before: list[Score] = []
    with PeakMemory() as first:
        reference = load_model(original, progress=progress)
        vocabulary = vocabulary_of(reference)
        logits_before: Iterator[Tensor] = _scored(reference, original, ids, before, progress)
        one_at_a_time = ids.numel() * vocabulary * 4 <= KEPT_LOGIT_BYTES
        if one_at_a_time:
            logits_before = iter(list(logits_before))
    del reference
    release_freed()
    with PeakMemory() as second:
        candidate = load_model(weights, progress=progress)
        _refuse_another_vocabulary(vocabulary_of(candidate), vocabulary, weights, original)
        after = [
            _score(logits, batch, next(logits_before), weights)
            for batch, logits in _advancing(candidate, ids, progress)
        ]
    peak_before = first.bytes if one_at_a_time else max(first.bytes, second.bytes)
    return _Judged(after, second.bytes), _Judged(before, peak_before)


def _refuse_another_vocabulary(candidate: int, original: int, weights: Weights, reference: Weights) -> None:
    if candidate != original:
        raise UserError(
            f"The two models do not share a vocabulary: {candidate} tokens against {original}",
            where=f"{weights.source} and {reference.source}",
            remedy="Compare a compressed model with the checkpoint it was made from.",
        )


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
