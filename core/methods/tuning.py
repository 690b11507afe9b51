"""What every tuning step declares: training of the compressed network on what the original gives."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.settings import setting

HELD_OUT = 8
"""One sample in so many is not learned from, but judged on."""

MAX_PASSES = 8
"""So often may each sample be learned from before it is said that the text is short."""


@dataclass(frozen=True)
class Tuning(ABC):
    """Subclasses are frozen settings classes. A recipe's tuning steps are carried out in its order, after all else.

    One loop runs all of them, so that what it takes is declared here. Every step learns from calibration text.
    """

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]

    steps: int = setting(100, title="Steps", help="Optimiser steps.", minimum=1, maximum=100_000)
    batch_windows: int = setting(8, title="Batch", help="Samples in a step.", unit="samples", minimum=1, maximum=4096)
    learning_rate: float = setting(
        1e-3, title="Learning rate", help="Relative to the size of what is tuned.", minimum=1e-8, maximum=1.0
    )

    def rate(self, step: int) -> float:
        """The learning rate of the step of that number, counted from 0: it falls to zero in a straight line."""
        return self.learning_rate * (1 - step / self.steps)

    @property
    def samples(self) -> int | None:
        """How many samples of the text are cut for it; None for those of the recipe's calibration."""
        return None

    @property
    def most_held_out(self) -> int | None:
        """How many samples at most are not learned from, but judged on; None for one in so many, however many."""
        return None

    def held_out(self, windows: int) -> list[int]:
        """The numbers of the samples, of so many, that the step does not learn from: spread evenly."""
        most = self.most_held_out
        apart = HELD_OUT if most is None else max(HELD_OUT, -(-windows // most))
        return list(range(0, windows, apart)) if windows > 1 else [0]

    def passes(self, windows: int) -> float:
        """How often each sample, of so many, is learned from on average."""
        return self.steps * self.batch_windows / max(1, windows - len(self.held_out(windows)))

    @property
    def refusal(self) -> str:
        """Why the step cannot be carried out with these settings, as a sentence without its full stop; "" if it can."""
        return ""

    @property
    def at_once(self) -> int:
        """Samples that go through the network together; the gradients of a step's parts are added up."""
        return self.batch_windows

    @property
    def judged_every(self) -> int:
        """Steps between two looks at the samples that are not learned from; 0 for none but the first and the last."""
        return 0

    @property
    def patience(self) -> int:
        """So many looks one after the other without a new best end the training; 0 for never."""
        return 0

    @property
    def trains_kept(self) -> bool:
        """Whether matrices that the recipe keeps are trained too."""
        return False

    @property
    def way(self) -> str:
        """What decides, beside the network and the samples in a step, how long one takes; "" where nothing does."""
        return ""

    @property
    def halves(self) -> bool:
        """Whether products of the trained network may be taken in bfloat16 where the processor does that faster."""
        return False
