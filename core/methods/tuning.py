"""What every tuning step declares: training of the compressed network on what the original gives."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.settings import setting


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
