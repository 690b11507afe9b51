"""How far a model's next-token distributions are from another's: pure functions over logits, memory-safe.

KL(original ‖ candidate) = Σ_v p·(log p − log q) per position, in nats; perplexity = exp of the mean negative
log-likelihood of the next tokens.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

CHUNK_BYTES = 64 << 20


class Diverged(ValueError):  # noqa: N818 - what the model did, not what went wrong here
    """The logits hold NaN."""


@dataclass(frozen=True)
class Score:
    """One batch judged. kl float32 [positions] or None without an original; nll is summed over `predicted` tokens."""

    nll: float
    predicted: int
    kl: NDArray[np.float32] | None = None
    agreements: int = 0


@dataclass(frozen=True)
class Judgement:
    """All batches together; kl_* and top1_agreement are None without an original."""

    perplexity: float
    kl_mean: float | None = None
    kl_p99: float | None = None
    top1_agreement: float | None = None


def log_probabilities(logits: Tensor) -> Tensor:
    """Log-probabilities, float32, of logits [..., vocabulary]. Raises Diverged when they are not numbers."""
    result = logits.float().log_softmax(-1)
    # A row with one NaN or +inf logit is NaN throughout, so one column tells.
    if torch.isnan(result[..., 0]).any():
        raise Diverged("the logits are not numbers")
    return result


def kl_divergence(original: Tensor, candidate: Tensor) -> Tensor:
    """KL(original ‖ candidate) from float32 log-probabilities [positions, vocabulary], to [positions].

    Tokens that the original rules out (−inf) contribute nothing.
    """
    terms = original.exp() * (original - candidate)
    return terms.masked_fill_(original == -math.inf, 0.0).sum(-1)


def score_batch(logits: Tensor, ids: Tensor, original: Tensor | None = None) -> Score:
    """Judge logits [windows, tokens, vocabulary] on int64 ids [windows, tokens].

    original: logits of the original on the same windows. Positions are handled in slices, so that temporaries stay
    near CHUNK_BYTES. Raises Diverged.
    """
    windows, tokens, vocabulary = logits.shape
    flat = logits.reshape(-1, vocabulary)
    other = None if original is None else original.reshape(-1, vocabulary)
    following = torch.full((windows, tokens), -1, dtype=torch.int64, device=ids.device)
    following[:, :-1] = ids[:, 1:]
    targets = following.flatten()
    nll = 0.0
    agreements = 0
    kl: list[NDArray[np.float32]] = []
    for part in _slices(len(flat), vocabulary):
        mine = log_probabilities(flat[part])
        known = targets[part] >= 0
        nll -= mine[known].gather(-1, targets[part][known][:, None]).double().sum().item()
        if other is not None:
            theirs = log_probabilities(other[part])
            kl.append(kl_divergence(theirs, mine).cpu().numpy())
            agreements += int((theirs.argmax(-1) == mine.argmax(-1)).sum())
    return Score(nll, windows * (tokens - 1), np.concatenate(kl) if kl else None, agreements)


def judge(scores: list[Score]) -> Judgement:
    """All batches of a text together; the quantile is interpolated linearly."""
    nll = math.fsum(score.nll for score in scores) / sum(score.predicted for score in scores)
    perplexity = math.exp(nll) if nll < 700 else math.inf
    parts = [score.kl for score in scores if score.kl is not None]
    if not parts:
        return Judgement(perplexity)
    kl = np.concatenate(parts).astype(np.float64)
    agreements = sum(score.agreements for score in scores)
    return Judgement(perplexity, float(kl.mean()), float(np.quantile(kl, 0.99)), agreements / len(kl))


def _slices(positions: int, vocabulary: int) -> Iterator[slice]:
    step = max(1, CHUNK_BYTES // (4 * vocabulary))
    for start in range(0, positions, step):
        yield slice(start, min(start + step, positions))
