"""Divergence and perplexity against the formulas written out, and against torch's own losses."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from benchvise.core.evaluate import divergence
from benchvise.core.evaluate.divergence import Diverged, judge, score_batch


def written_out(ref: Tensor, cand: Tensor, x: Tensor) -> dict[str, float]:
    """The judge's formulas on float32 log-probabilities [windows, tokens, vocabulary]."""
    ref, lp = ref.float().log_softmax(-1), cand.float().log_softmax(-1)
    kl = (ref.exp() * (ref - lp)).sum(-1).flatten()
    nll = -lp[:, :-1].gather(-1, x[:, 1:, None]).mean().item()
    top1 = (ref.argmax(-1) == lp.argmax(-1)).float().mean().item()
    return {"kl": kl.mean().item(), "kl99": kl.quantile(0.99).item(), "ppl": math.exp(nll), "top1": top1}


@pytest.mark.parametrize("chunk_bytes", [64 << 20, 4 * 31 * 7])
@pytest.mark.parametrize("batch", [1, 2, 5])
def test_equals_the_judge(monkeypatch: pytest.MonkeyPatch, chunk_bytes: int, batch: int) -> None:
    monkeypatch.setattr(divergence, "CHUNK_BYTES", chunk_bytes)
    generator = torch.Generator().manual_seed(3)
    reference = torch.randn(5, 40, 31, generator=generator) * 2
    candidate = reference + torch.randn(5, 40, 31, generator=generator) * 0.3
    ids = torch.randint(31, (5, 40), generator=generator)
    expected = written_out(reference, candidate, ids)
    scores = [
        score_batch(c, x, r)
        for c, x, r in zip(candidate.split(batch), ids.split(batch), reference.split(batch), strict=True)
    ]
    found = judge(scores)
    assert found.kl_mean == pytest.approx(expected["kl"], rel=1e-5)
    assert found.kl_p99 == pytest.approx(expected["kl99"], rel=1e-5)
    assert found.perplexity == pytest.approx(expected["ppl"], rel=1e-6)
    assert found.top1_agreement == pytest.approx(expected["top1"], abs=1e-7)


def test_agrees_with_torchs_losses_in_double() -> None:
    generator = torch.Generator().manual_seed(4)
    reference, candidate = torch.randn(2, 3, 9, 17, generator=generator)
    ids = torch.randint(17, (3, 9), generator=generator)
    ours = judge([score_batch(candidate, ids, reference)])
    theirs = torch.nn.functional.kl_div(
        candidate.double().log_softmax(-1).flatten(0, 1),
        reference.double().log_softmax(-1).flatten(0, 1),
        reduction="batchmean",
        log_target=True,
    )
    loss = torch.nn.functional.cross_entropy(candidate[:, :-1].double().flatten(0, 1), ids[:, 1:].flatten())
    assert ours.kl_mean == pytest.approx(theirs.item(), rel=1e-5)
    assert ours.perplexity == pytest.approx(math.exp(loss.item()), rel=1e-6)


def test_itself_is_no_divergence_and_alone_has_none() -> None:
    logits = torch.randn(2, 5, 11)
    ids = torch.zeros(2, 5, dtype=torch.int64)
    same = judge([score_batch(logits, ids, logits)])
    assert (same.kl_mean, same.kl_p99, same.top1_agreement) == (0.0, 0.0, 1.0)
    alone = judge([score_batch(logits, ids)])
    assert (alone.kl_mean, alone.kl_p99, alone.top1_agreement) == (None, None, None)
    assert alone.perplexity == same.perplexity


def test_tokens_that_the_original_rules_out_count_nothing() -> None:
    logits = torch.randn(1, 4, 6)
    logits[..., 5] = -math.inf
    other = logits.clone()
    other[..., 0] += 1
    found = score_batch(other, torch.zeros(1, 4, dtype=torch.int64), logits)
    assert found.kl is not None
    expected = written_out(logits[..., :5], other[..., :5], torch.zeros(1, 4, dtype=torch.int64))
    assert np.isfinite(found.kl).all()
    assert found.kl.mean() == pytest.approx(expected["kl"], rel=1e-5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_logits_that_are_not_numbers_are_told(bad: float) -> None:
    logits = torch.randn(1, 4, 6)
    logits[0, 2, 3] = bad
    with pytest.raises(Diverged):
        score_batch(logits, torch.zeros(1, 4, dtype=torch.int64))
