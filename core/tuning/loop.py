"""The loop of every tuning step: it trains, judges on samples that were not learned from, and can be resumed."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor

from benchvise.core.errors import Cancelled
from benchvise.core.evaluate.divergence import Diverged, kl_divergence, log_probabilities
from benchvise.core.evaluate.forward import batches
from benchvise.core.memory import ran_out_of_memory
from benchvise.core.methods.tuning import Tuning
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import TuningStep
from benchvise.core.solvers.adam import Adam
from benchvise.core.solvers.window_sampler import batches_of_windows
from benchvise.core.tuning import state as state_file
from benchvise.core.tuning.reference import ReferenceOutputs
from benchvise.core.tuning.state import TuningState, TuningStateFile
from benchvise.core.tuning.trainee import Trainee
from benchvise.core.wording import less_at_once

MOMENTS = (0.9, 0.95)

RISEN = 10.0
"""Held-out KL of so many times what it was before the first step, and of NOTICEABLE nats at least, has diverged."""

NOTICEABLE = 0.1

SAVE_SHARE = 30
"""A state is saved again after so many times what saving it took, where that is longer than `SAVE_SECONDS`."""


@dataclass(frozen=True)
class Trained:
    """Mean KL to the original, in nats per token, on the samples that were not learned from.

    ended: the last step, 0 when none was done. kept: the step whose state is kept. why: what ended it before its time.
    """

    before: float
    after: float
    ended: int
    kept: int
    why: Literal["", "diverged", "no gain"] = ""

    @property
    def gained(self) -> bool:
        """Whether what was learned is kept."""
        return self.after < self.before


@dataclass
class _Best:
    """The least KL that was seen, after which step, and the values then; none while nothing is better than before."""

    kl: float
    step: int = 0
    values: list[Tensor] | None = None
    waited: int = 0

    def seen(self, kl: float, step: int, values: list[Tensor]) -> None:
        if kl < self.kl:
            self.kl, self.step, self.waited = kl, step, 0
            self.values = [value.detach().clone() for value in values]
        else:
            self.waited += 1


class TuningLoop:
    """One step of a recipe's tuning on ids int64 [windows, tokens]."""

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
        self._held = settings.held_out(len(ids))
        held = set(self._held)
        self._learned = [window for window in range(len(ids)) if window not in held] or self._held
        self._held_reference = reference.of_few(len(self._held))
        self._at_once = settings.at_once

    def run(self) -> Trained:
        """Train, from the last saved state where there is one. Progress is in steps, each is told as `TuningStep`.

        Raises Diverged when the original's outputs are no numbers, or the network's before the first step, and
        OutputError when the state cannot be saved.
        """
        values = [value.requires_grad_() for value in self._trainee.parameters]
        optimiser = Adam(values, *MOMENTS)
        found = self._state.load(values)
        if found is None:
            start, before = 0, self._judged()
            best = _Best(before)
        else:
            start, before, best = self._restored(found, values, optimiser)
        self._tell(start, None, before)
        ended, why = self._train(values, optimiser, start, before, best)
        after = math.inf if why == "diverged" else self._looked(ended)
        if best.values is not None and best.kl < after:
            with torch.no_grad():
                for value, kept in zip(values, best.values, strict=True):
                    value.copy_(kept)
            return Trained(before, best.kl, ended, best.step, why)
        return Trained(before, after, ended, ended, why)

    def _restored(self, found: TuningState, values: list[Tensor], optimiser: Adam) -> tuple[int, float, _Best]:
        with torch.no_grad():
            for value, kept in zip(values, found.values, strict=True):
                value.copy_(kept)
        optimiser.restore(found.step, found.means, found.squares)
        best = _Best(found.least, found.best_step, None if found.best is None else list(found.best), found.waited)
        return found.step, found.before, best

    def _train(
        self, values: list[Tensor], optimiser: Adam, start: int, before: float, best: _Best
    ) -> tuple[int, Literal["", "diverged", "no gain"]]:
        """The last step that was done, and what ended it before all were."""
        if not values:
            return start, ""
        settings = self._settings
        drawn = batches_of_windows(len(self._learned), settings.batch_windows, self._seed)
        self._progress.start(settings.steps, "steps")
        for _ in range(start):
            for part in self._parts(next(drawn)):
                self._reference.pass_over(part)
        self._progress.advance(start)
        due = time.monotonic() + state_file.SAVE_SECONDS
        for number in range(start, settings.steps):
            loss = self._step(values, optimiser, next(drawn), settings.rate(number))
            self._tell(number + 1, loss, None)
            if not math.isfinite(loss) or not self._look(number + 1, before, best, values):
                return number + 1, "diverged"
            if settings.patience and best.waited >= settings.patience:
                return number + 1, "no gain"
            try:
                self._progress.advance(1)
            except Cancelled:
                self._save(number + 1, before, best, values, optimiser)
                raise
            if time.monotonic() >= due:
                began = time.monotonic()
                self._save(number + 1, before, best, values, optimiser)
                took = time.monotonic() - began
                due = began + took + max(state_file.SAVE_SECONDS, SAVE_SHARE * took if state_file.SAVE_SECONDS else 0)
        return settings.steps, ""

    def _look(self, step: int, before: float, best: _Best, values: list[Tensor]) -> bool:
        """Look at samples that are not learned from, when it is time; False when it has diverged."""
        every = self._settings.judged_every
        if not every or step % every or step == self._settings.steps:
            return True
        kl = self._looked(step)
        best.seen(kl, step, values)
        return kl <= RISEN * max(before, NOTICEABLE / RISEN)

    def _step(self, values: list[Tensor], optimiser: Adam, drawn: list[int], rate: float) -> float:
        while True:
            try:
                loss, gradients = self._gradients(values, drawn)
                break
            except (MemoryError, OSError, RuntimeError) as error:
                if not ran_out_of_memory(error) or self._at_once == 1:
                    raise
                self._at_once = -(-min(self._at_once, len(drawn)) // 2)
                self._progress.note(less_at_once(self._settings.title, self._at_once))
        with torch.no_grad():
            for value, direction in zip(values, optimiser(gradients), strict=True):
                value.sub_(direction, alpha=rate)
            self._trainee.after_step()
        return loss

    def _gradients(self, values: list[Tensor], drawn: list[int]) -> tuple[float, Sequence[Tensor]]:
        """The loss of a step, and its gradients."""
        total, gradients = 0.0, list[Tensor]()
        for part in self._parts(drawn):
            wanted = self._reference.log_probabilities(part)
            with torch.enable_grad():
                loss = self._loss(part, wanted) * (len(part) / len(drawn))
            found = torch.autograd.grad(loss, values)
            gradients = [a.add_(b) for a, b in zip(gradients, found, strict=True)] if gradients else list(found)
            total += float(loss.detach())
        return total, gradients

    def _loss(self, part: list[int], wanted: Tensor) -> Tensor:
        if not self._trainee.hidden:
            return self._trainee.loss(self._ids[part], wanted)
        return self._trainee.loss(self._ids[part], wanted, self._reference.hidden_states(part))

    def _parts(self, drawn: list[int]) -> Iterator[list[int]]:
        """Windows of the numbers drawn, as many at once as go through the network together."""
        for start in range(0, len(drawn), self._at_once):
            yield [self._learned[window] for window in drawn[start : start + self._at_once]]

    def _save(self, step: int, before: float, best: _Best, values: list[Tensor], optimiser: Adam) -> None:
        self._state.save(
            TuningState(
                step, before, values, optimiser.means, optimiser.squares, best.kl, best.step, best.waited, best.values
            )
        )

    def _tell(self, step: int, loss: float | None, held_out: float | None) -> None:
        settings = self._settings
        self._progress.result(TuningStep(settings.key, step, settings.steps, loss, held_out))

    def _looked(self, step: int) -> float:
        """Mean KL on samples that are not learned from, which is told; infinite when outputs are no numbers."""
        try:
            found = self._judged()
        except Diverged:
            return math.inf
        self._tell(step, None, found)
        return found

    def _held_batches(self) -> Iterator[list[int]]:
        numbers = torch.tensor(self._held)[:, None].expand(-1, self._ids.shape[1])
        return (batch[:, 0].tolist() for batch in batches(numbers, self._reference.vocabulary))

    @torch.no_grad()
    def _judged(self) -> float:
        """Mean KL in nats per token over the samples that are not learned from."""
        total, tokens = 0.0, 0
        for windows in self._held_batches():
            wanted = self._held_reference.log_probabilities(windows).flatten(0, 1)
            found = log_probabilities(self._trainee.logits(self._ids[windows])).flatten(0, 1)
            kl = kl_divergence(wanted, found)
            total += float(kl.double().sum())
            tokens += kl.numel()
        return total / tokens
