"""Polish: settings of the tuning step that leaves all codes as they are."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.methods.tuning import Tuning


@dataclass(frozen=True)
class Polish(Tuning):
    """With all codes fixed, scales, norm weights and biases are tuned on the KL to the original's outputs.

    Costs no storage. Source: the second phase of EfficientQAT, arXiv 2407.11062, section 3.3, with the original's
    outputs as the target instead of the text.
    """

    key: ClassVar[str] = "polish"
    title: ClassVar[str] = "Polish"
    summary: ClassVar[str] = "Tune scales, norms and biases end to end on the original's outputs; codes stay."
    source: ClassVar[str] = "EfficientQAT, arXiv 2407.11062, section 3.3"
