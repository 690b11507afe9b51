"""The loop of every tuning step: it trains, judges on samples that were not learned from, and can be resumed."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from benchvise.core.errors import Cancelled
from benchvise.core.evaluate.divergence import kl_divergence, log_probabilities
from benchvise.core.evaluate.forward import batches
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import TuningStep
from benchvise.core.solvers.adam import Adam
from benchvise.core.solvers.window_sampler import batches_of_windows
from benchvise.core.tuning import state as state_file
from benchvise.core.tuning.reference import ReferenceOutputs
from benchvise.core.tuning.state import TuningState, TuningStateFile
from benchvise.core.tuning.trainee import Trainee

HELD_OUT = 8
"""One sample in so many is not learned from, but judged on."""

MOMENTS = (0.9, 0.95)


@dataclass(frozen=True)
class Trained:
    """Mean KL to the original, in nats per token, on the samples that were not learned from."""

    before: float
    after: float

    @property
    def gained(self) -> bool:
        """Whether what was learned is kept."""
        return self.after < self.before


class TuningLoop:
    """One step of a recipe's tuning on calibration ids int64 [windows, tokens]."""

    def __init__(
        self,
        trainee: Trainee[Any],
        reference: ReferenceOutputs,
        ids: Tensor,
        settings: Tuning,
        seed: int,
        state: TuningStateFile,
        progress: Progress,
    ) -> None:
        self._trainee = trainee
        self._reference = reference
        self._ids = ids
        self._settings = settings
        self._seed = seed
        self._state = state
        self._progress = progress
        self._held = list(range(0, len(ids), HELD_OUT)) if len(ids) > 1 else [0]
        self._learned = [window for window in range(len(ids)) if window not in self._held] or self._held

    def run(self) -> Trained:
        """Train, from the last saved state where there is one. Progress is in steps, each is told as `TuningStep`.

        Raises Diverged when the network's outputs are no numbers, OutputError when the state cannot be saved.
        """
        values = [value.requires_grad_() for value in self._trainee.parameters]
        optimiser = Adam(values, *MOMENTS)
        found = self._state.load(values)
        if found is None:
            start, before = 0, self._judged()
        else:
            start, before = self._restored(found, values, optimiser)
        self._tell(start, None, before)
        self._train(values, optimiser, start, before)
        after = self._judged()
        self._tell(self._settings.steps, None, after)
        return Trained(before, after)

    def _restored(self, found: TuningState, values: list[Tensor], optimiser: Adam) -> tuple[int, float]:
        with torch.no_grad():
            for value, kept in zip(values, found.values, strict=True):
                value.copy_(kept)
        optimiser.restore(found.step, found.means, found.squares)
        for windows in self._held_batches():
            self._reference.pass_over(windows)
        return found.step, found.before

    def _train(self, values: list[Tensor], optimiser: Adam, start: int, before: float) -> None:
        if not values:
            return
        settings = self._settings
        drawn = batches_of_windows(len(self._learned), settings.batch_windows, self._seed)
        self._progress.start(settings.steps, "steps")
        for _ in range(start):
            self._reference.pass_over([self._learned[window] for window in next(drawn)])
        self._progress.advance(start)
        saved = time.monotonic()
        for number in range(start, settings.steps):
            windows = [self._learned[window] for window in next(drawn)]
            loss = self._step(values, optimiser, windows, settings.learning_rate * (1 - number / settings.steps))
            self._tell(number + 1, loss, None)
            try:
                self._progress.advance(1)
            except Cancelled:
                self._save(number + 1, before, values, optimiser)
                raise
            if time.monotonic() - saved >= state_file.SAVE_SECONDS:
                self._save(number + 1, before, values, optimiser)
                saved = time.monotonic()

    def _step(self, values: list[Tensor], optimiser: Adam, windows: list[int], rate: float) -> float:
        wanted = self._reference.log_probabilities(windows)
        with torch.enable_grad():
            loss = self._trainee.loss(self._ids[windows], wanted)
        gradients = torch.autograd.grad(loss, values)
        with torch.no_grad():
            for value, direction in zip(values, optimiser(gradients), strict=True):
                value.sub_(direction, alpha=rate)
            self._trainee.after_step()
        return float(loss.detach())

    def _save(self, step: int, before: float, values: list[Tensor], optimiser: Adam) -> None:
        self._state.save(TuningState(step, before, values, optimiser.means, optimiser.squares))

    def _tell(self, step: int, loss: float | None, held_out: float | None) -> None:
        settings = self._settings
        self._progress.result(TuningStep(settings.key, step, settings.steps, loss, held_out))

    def _held_batches(self) -> Iterator[list[int]]:
        numbers = torch.tensor(self._held)[:, None].expand(-1, self._ids.shape[1])
        return (batch[:, 0].tolist() for batch in batches(numbers, self._reference.vocabulary))

    @torch.no_grad()
    def _judged(self) -> float:
        """Mean KL in nats per token over the samples that are not learned from."""
        total, tokens = 0.0, 0
        for windows in self._held_batches():
            wanted = self._reference.log_probabilities(windows).flatten(0, 1)
            found = log_probabilities(self._trainee.logits(self._ids[windows])).flatten(0, 1)
            kl = kl_divergence(wanted, found)
            total += float(kl.double().sum())
            tokens += kl.numel()
        return total / tokens
