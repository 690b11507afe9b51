"""How much a job does, counted from its plan: windows, steps, looks, bytes of activations."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from benchvise.core.blockwise.blockwise_run import compares
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.plan import Plan, PlanRow
from benchvise.core.solvers.learned_rounding import probed_windows, probes
from benchvise.core.tuning.reference import CACHE_BYTES


@dataclass(frozen=True)
class Calibrating:
    """The text that a job looks at, as windows. width: of a hidden state."""

    windows: int
    tokens: int
    width: int

    @property
    def stream_bytes(self) -> int:
        """One hidden state, float32, for every token."""
        return 4 * self.windows * self.tokens * self.width


def streams_of(plan: Plan, *, learns: bool) -> int:
    """How many hidden states of every token go from block to block: the compressed network's, the original's, both."""
    if not learns:
        return 0
    return 2 if plan.recipe.calibration.inputs == "compressed" and compares(plan.treated_rows) else 1


def held_streams(plan: Plan, *, learns: bool) -> int:
    """How many are in memory at most: with what a block that is learned should give."""
    learned = any(row.treatment.solver.learning is not None for row in plan.treated_rows)
    return streams_of(plan, learns=learns) + (1 if learns and learned else 0)


@dataclass(frozen=True)
class Learning:
    """What learned rounding does in one block: steps of so many windows, and looks over so many."""

    steps: int = 0
    step_windows: int = 0
    looks: int = 0
    look_windows: int = 0


def learning_of(rows: Sequence[PlanRow], windows: int) -> tuple[Learning, ...]:
    """One for each setting of the solver, as layers of equal settings are learned together."""
    solvers = {repr(row.treatment.solver): row.treatment.solver for row in rows}
    return tuple(
        Learning(
            learning.steps,
            min(windows, learning.batch_windows),
            sum(probes(left, learning.steps) for left in range(1, learning.steps + 1)),
            len(probed_windows(windows)),
        )
        for solver in solvers.values()
        if (learning := solver.learning) is not None
    )


@dataclass(frozen=True)
class TuningWorkload:
    """What a tuning step does. forwards: windows through the original; cached: bytes of its outputs that are kept.

    at_once: windows of a step that go through together. judged: windows through the tuned model without a way back;
    batches: how often its weights are decoded for them. copies: of what is tuned, kept beside what the optimiser needs.
    """

    steps: int
    step_windows: int
    at_once: int
    forwards: int
    judged: int
    batches: int
    cached: int
    copies: int


def tuning_workload(settings: Tuning, calibrating: Calibrating, vocabulary: int) -> TuningWorkload:
    """Counted as `core.tuning.loop` goes: samples that are held out are judged on at every look."""
    windows = calibrating.windows
    held = len(settings.held_out(windows))
    learned = max(1, windows - held)
    batch = min(settings.batch_windows, learned)
    drawn = settings.steps * batch
    outputs = 4 * calibrating.tokens * vocabulary
    looks = 2 + ((settings.steps - 1) // settings.judged_every if settings.judged_every else 0)
    of_held = held if held * outputs <= CACHE_BYTES else looks * held
    keeps = windows * outputs <= CACHE_BYTES
    seen = min(learned, drawn)
    cached = (held if of_held == held else 0) + (seen if keeps else 0)
    return TuningWorkload(
        steps=settings.steps,
        step_windows=batch,
        at_once=min(batch, settings.at_once),
        forwards=of_held + (seen if keeps else drawn),
        judged=looks * held,
        batches=looks * -(-held // 8),
        cached=cached * outputs,
        copies=1 if settings.judged_every else 0,
    )
