"""Polish: with all codes fixed, what is left is tuned end to end on the original's outputs.

Source: EfficientQAT, arXiv 2407.11062, section 3.3, with the KL to the original's outputs as the loss.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.evaluate.divergence import kl_divergence, log_probabilities
from benchvise.core.evaluate.forward import batches, logits_of, vocabulary_of
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.solvers.adam import Adam
from benchvise.core.solvers.window_sampler import draws
from benchvise.core.tuning.tuned_model import Tuned, TunedModel

HELD_OUT = 8
"""One window in so many is not learned from, but judged on."""

CACHE_BYTES = 1 << 30


@dataclass(frozen=True)
class Polished:
    """KL to the original on the windows that were not learned from, before and after; `parts` only when it fell."""

    parts: tuple[Tuned, ...]
    before: float
    after: float
    notes: tuple[str, ...]


def polish(
    tuned: TunedModel, original: nn.Module, ids: Tensor, settings: Tuning, seed: int, progress: Progress
) -> Polished:
    """Tune on calibration ids int64 [windows, tokens]. Progress is in steps.

    Windows that are held out decide whether what was learned is kept. Raises Diverged when the outputs are no numbers.
    """
    reference = _Reference(original, ids)
    held = list(range(0, len(ids), HELD_OUT)) if len(ids) > 1 else [0]
    learned_from = [window for window in range(len(ids)) if window not in held] or held
    before = _held_out(tuned, reference, ids, held)
    _tune(tuned, reference, ids[learned_from], learned_from, settings, seed, progress)
    after = _held_out(tuned, reference, ids, held)
    if not after < before:
        note = f"Polish did not pay: KL on held-out calibration text {before:.5f} before, {after:.5f} after; undone"
        return Polished((), before, after, (*tuned.notes, note))
    note = f"Polished in {settings.steps} steps: KL on held-out calibration text {before:.5f} → {after:.5f}"
    return Polished(tuple(tuned.parts), before, after, (*tuned.notes, note))


def _tune(
    tuned: TunedModel,
    reference: _Reference,
    ids: Tensor,
    numbers: list[int],
    settings: Tuning,
    seed: int,
    progress: Progress,
) -> None:
    changes = [change.requires_grad_() for change in tuned.changes]
    if not changes:
        return
    step = Adam(changes, 0.9, 0.95)
    drawn = draws(len(ids), settings.batch_windows, seed)
    progress.start(settings.steps, "steps")
    for number in range(settings.steps):
        windows = next(drawn)
        wanted = reference.log_probabilities([numbers[window] for window in windows])
        with torch.enable_grad():
            found = tuned.logits(ids[windows]).float().log_softmax(-1)
            loss = kl_divergence(wanted.flatten(0, 1), found.flatten(0, 1)).mean()
        gradients = torch.autograd.grad(loss, changes)
        rate = settings.learning_rate * (1 - number / settings.steps)
        with torch.no_grad():
            for change, direction in zip(changes, step(gradients), strict=True):
                change.sub_(direction, alpha=rate)
        progress.advance(1)


@torch.no_grad()
def _held_out(tuned: TunedModel, reference: _Reference, ids: Tensor, held: list[int]) -> float:
    """Mean KL in nats per token over the windows `held`."""
    total, tokens = 0.0, 0
    for batch in batches(torch.tensor(held)[:, None].expand(-1, ids.shape[1]), reference.vocabulary):
        windows = batch[:, 0].tolist()
        wanted = reference.log_probabilities(windows).flatten(0, 1)
        kl = kl_divergence(wanted, log_probabilities(tuned.logits(ids[windows])).flatten(0, 1))
        total += float(kl.double().sum())
        tokens += kl.numel()
    return total / tokens


class _Reference:
    """The original's log-probabilities [windows, tokens, vocabulary]; kept once computed while they fit the cache."""

    def __init__(self, original: nn.Module, ids: Tensor) -> None:
        self._original = original
        self._ids = ids
        self.vocabulary = vocabulary_of(original)
        self._kept: dict[int, Tensor] | None = {} if ids.numel() * self.vocabulary * 4 <= CACHE_BYTES else None

    def log_probabilities(self, windows: list[int]) -> Tensor:
        kept = self._kept
        if kept is not None and all(window in kept for window in windows):
            return torch.stack([kept[window] for window in windows])
        # Cloned outside of inference mode, so that gradients may be taken of what is computed with them.
        found = log_probabilities(logits_of(self._original, self._ids[windows])).clone()
        if kept is not None:
            kept.update(zip(windows, found, strict=True))
        return found
