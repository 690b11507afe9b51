"""Learned rounding: settings of the solver that looks at a whole block at work."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Literal

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import LearningSteps, Nearest, Need, Solver
from benchvise.core.settings import setting


@dataclass(frozen=True)
class LearnedRounding(Solver):
    """Every weight's rounding and every group's scale are learned together on the output of the whole block."""

    key: ClassVar[str] = "learned_rounding"
    title: ClassVar[str] = "Learned rounding (AutoRound)"
    summary: ClassVar[str] = "Learn which way to round, and each scale, so that the block's output is kept."
    source: ClassVar[str] = "AutoRound, arXiv 2309.05516, section 3; there with signed gradients, here also with Adam"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("learned"),
        word("from nearest", start="nearest"),
        word("signed", optimiser="sign"),
        word("{steps} steps"),
        word("of {batch_windows}"),
        word("rate {learning_rate}"),
        word("scales {scale_rate}"),
        word("reach {reach}"),
    )

    start: Literal["error_feedback", "nearest"] = setting(
        "error_feedback",
        title="Start from",
        help="The codes that learning begins with.",
        choices={"error_feedback": "Error feedback", "nearest": "Nearest, clip search"},
    )
    optimiser: Literal["adam", "sign"] = setting(
        "adam",
        title="Optimiser",
        help="Adam goes further in the same number of steps; signed gradients are what the paper uses.",
        choices={"adam": "Adam", "sign": "Signed gradients"},
    )
    steps: int = setting(
        100,
        title="Steps",
        help="Optimiser steps for each block.",
        minimum=1,
        maximum=100_000,
        suggestions=(50, 100, 200),
    )
    batch_windows: int = setting(8, title="Batch", help="Samples in a step.", unit="samples", minimum=1, maximum=4096)
    learning_rate: float = setting(
        0.02,
        title="Learning rate",
        help="Of the rounding offsets, in steps of the grid; falls to zero in a straight line.",
        minimum=1e-6,
        maximum=1.0,
    )
    scale_rate: float = setting(
        0.2,
        title="Rate of scales",
        help="How fast scales learn, as a share of the learning rate; 0 leaves them as they are.",
        minimum=0.0,
        maximum=10.0,
    )
    reach: float = setting(
        0.5,
        title="Reach",
        help="How far an offset may take a weight from where it was before rounding, in steps of the grid.",
        minimum=0.1,
        maximum=8.0,
    )

    def needs(self, scheme: Scheme) -> Need:  # noqa: ARG002 - whatever the scheme, the block decides
        return "block"

    def refusal(self, scheme: Scheme) -> str:
        if "rounding" in scheme.capabilities:
            return ""
        return f"Learned rounding moves codes on even grids, which '{scheme.key}' has not"

    @property
    def compensates(self) -> bool:
        return True

    @property
    def init_solver(self) -> Solver:
        return ErrorFeedback() if self.start == "error_feedback" else Nearest(clip_search=True, importance=True)

    @property
    def learning(self) -> LearningSteps:
        return LearningSteps(self.steps, self.batch_windows)

    def shortened(self, steps: int) -> LearnedRounding:
        return replace(self, steps=steps)

    @property
    def cheaper(self) -> LearnedRounding:
        return replace(self, start="nearest")

    @property
    def compares(self) -> bool:
        return self.start == "error_feedback"

    @property
    def randomised(self) -> bool:
        return True

    def searches(self, scheme: Scheme) -> bool:  # noqa: ARG002 - sums decide every code
        return True

    def tag(self, scheme: Scheme) -> str:  # noqa: ARG002 - the same for all
        default = LearnedRounding()
        words = ["learned"]
        if self.start != default.start:
            words.append("from nearest")
        if self.optimiser != default.optimiser:
            words.append("signed")
        words += [f"{self.steps} steps"] if self.steps != default.steps else []
        words += [f"of {self.batch_windows}"] if self.batch_windows != default.batch_windows else []
        words += [f"rate {self.learning_rate:g}"] if self.learning_rate != default.learning_rate else []
        words += [f"scales {self.scale_rate:g}"] if self.scale_rate != default.scale_rate else []
        words += [f"reach {self.reach:g}"] if self.reach != default.reach else []
        return " ".join(words)
