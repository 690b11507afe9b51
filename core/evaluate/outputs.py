"""A network that predicts no next tokens, judged by how near its outputs are to its original's."""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn

from benchvise.core.errors import UserError
from benchvise.core.evaluate.divergence import Diverged, kl_divergence, log_probabilities
from benchvise.core.evaluate.forward import batches, diverged, vocabulary_of
from benchvise.core.evaluate.text import Windows
from benchvise.core.memory import PeakMemory, release_freed
from benchvise.core.progress import Progress
from benchvise.core.protocol.requests import Evaluate
from benchvise.core.protocol.results import Evaluation
from benchvise.core.runtime.build import load_model
from benchvise.core.runtime.given import answer_of, has_logits, judged
from benchvise.core.weights.weights import Weights


@dataclass
class _Sums:
    """Over all positions: of cosines, squared errors and squares; KL divergences where there are logits."""

    cosine: float = 0.0
    positions: int = 0
    error: float = 0.0
    square: float = 0.0
    agreements: int = 0
    kl: list[Tensor] = field(default_factory=list)

    def add(self, found: Tensor, wanted: Tensor, *, logits: bool) -> None:
        """found, wanted: float [..., width]."""
        mine, theirs = (each.float().reshape(-1, each.shape[-1]) for each in (found, wanted))
        if not bool(mine.isfinite().all()):
            raise Diverged("the outputs are not numbers")
        self.cosine += float(torch.cosine_similarity(mine, theirs, dim=-1).double().sum())
        self.positions += len(mine)
        self.error += float((mine - theirs).double().square().sum())
        self.square += float(theirs.double().square().sum())
        if logits:
            self.kl.append(kl_divergence(log_probabilities(theirs), log_probabilities(mine)).cpu())
            self.agreements += int((mine.argmax(-1) == theirs.argmax(-1)).sum())


def evaluate_outputs(
    request: Evaluate, weights: Weights, original: Weights | None, windows: Windows, progress: Progress
) -> Evaluation:
    """Cosine and relative error of `weights` against `original`, and the KL divergence where both give logits.

    Progress is in windows. Raises UserError without an original, or when the two do not give outputs of one shape, and
    CheckpointError when a checkpoint cannot be run or its outputs are not numbers.
    """
    started = time.perf_counter()
    if original is None:
        raise UserError(
            "The network predicts no next tokens, so that it is judged by its outputs against those of its original",
            where=request.source,
            remedy="Name the original with --against.",
        )
    progress.start(2 * len(windows.ids), "windows")
    with PeakMemory() as first:
        wanted, logits = _answers(load_model(original, progress=progress), windows.ids, progress)
    release_freed()
    sums = _Sums()
    with PeakMemory() as second:
        found, _ = _answers(load_model(weights, progress=progress), windows.ids, progress)
    for mine, theirs in zip(found, wanted, strict=True):
        if mine.shape != theirs.shape:
            raise UserError(
                f"The two networks give outputs of other shapes: {list(mine.shape)} against {list(theirs.shape)}",
                where=f"{weights.source} and {original.source}",
                remedy="Compare a compressed network with the checkpoint it was made from.",
            )
        try:
            sums.add(mine, theirs, logits=logits)
        except Diverged as error:
            raise diverged(weights.source) from error
    kl = torch.cat(sums.kl).double() if sums.kl else None
    return Evaluation(
        source=request.source,
        perplexity=None,
        tokens=sums.positions,
        weight_bytes=weights.stored_bytes,
        peak_rss_bytes=second.bytes,
        seconds=time.perf_counter() - started,
        kl_mean=None if kl is None else float(kl.mean()),
        kl_p99=None if kl is None else float(kl.quantile(0.99)),
        top1_agreement=None if kl is None else sums.agreements / sums.positions,
        against=request.against,
        weight_bytes_against=original.stored_bytes,
        peak_rss_bytes_against=first.bytes,
        cosine=sums.cosine / sums.positions,
        relative_error=(sums.error / sums.square) ** 0.5 if sums.square else float("inf"),
    )


@torch.inference_mode()
def _answers(model: nn.Module, given: Tensor, progress: Progress) -> tuple[list[Tensor], bool]:
    """The outputs [windows, …, width], batch by batch, and whether they are logits."""
    found, logits = [], False
    for batch in batches(given, vocabulary_of(model)):
        answer = answer_of(model, batch)
        logits = has_logits(answer)
        found.append(judged(answer).cpu())
        progress.advance(len(batch))
    return found, logits
