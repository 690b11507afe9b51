"""The last step of a recipe: what is not codes is tuned end to end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.settings import setting


@dataclass(frozen=True)
class Polish:
    """With all codes fixed, scales, norm weights and biases are tuned on the KL to the original's outputs.

    Costs no storage. Source: the second phase of EfficientQAT, arXiv 2407.11062, section 3.3, with the original's
    outputs as the target instead of the text.
    """

    key: ClassVar[str] = "polish"
    title: ClassVar[str] = "Polish"
    summary: ClassVar[str] = "Tune scales, norms and biases end to end on the original's outputs; codes stay."
    source: ClassVar[str] = "EfficientQAT, arXiv 2407.11062, section 3.3"

    steps: int = setting(100, title="Steps", help="Optimiser steps.", minimum=1, maximum=100_000)
    batch_windows: int = setting(8, title="Batch", help="Windows in a step.", unit="windows", minimum=1, maximum=4096)
    learning_rate: float = setting(
        1e-3, title="Learning rate", help="Of the scales, relative to their size.", minimum=1e-8, maximum=1.0
    )
