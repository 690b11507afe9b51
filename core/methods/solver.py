"""What every solver declares: its settings, and which schemes it can serve."""

from __future__ import annotations

from abc import ABC
from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import setting


@dataclass(frozen=True)
class LearningSteps:
    """Optimiser steps that a solver takes for a block, on batches of so many samples."""

    steps: int
    batch_windows: int


Need = Literal["weights", "inputs", "block"]
"""What a solver has to see: the weight alone, the layer's inputs on calibration text, or its whole block at work."""


@dataclass(frozen=True)
class Solver(ABC):
    """How the values under a scheme are found. Subclasses are frozen settings classes."""

    key: ClassVar[str]
    title: ClassVar[str]
    summary: ClassVar[str]
    source: ClassVar[str]
    phrases: ClassVar[tuple[Phrase, ...]] = ()

    def tag(self, scheme: Scheme) -> str:  # noqa: ARG002 - subclasses look at the scheme
        """A short addition to the scheme's tag that names every setting which changes the result; "" for none."""
        return ""

    def needs(self, scheme: Scheme) -> Need:  # noqa: ARG002 - subclasses look at the scheme
        """What has to be known besides the weight; all but "weights" take calibration text and an architecture."""
        return "weights"

    def refusal(self, scheme: Scheme) -> str:  # noqa: ARG002 - subclasses look at the scheme
        """Why the solver cannot serve the scheme, as a phrase with a remedy; "" when it can."""
        return ""

    @property
    def compensates(self) -> bool:
        """Whether weights that are yet to be rounded make good the errors of those that were."""
        return False

    @property
    def compares(self) -> bool:
        """Whether a layer's inputs in the original network are of use beside those after the compressed prefix."""
        return False

    @property
    def init_solver(self) -> Solver | None:
        """The solver of single layers whose codes a solver of blocks starts from; None for solvers of single layers."""
        return None

    @property
    def factors_moments(self) -> bool:
        """Whether the second moments of a layer's inputs are factored, which takes the cube of their number."""
        return self.init_solver is not None and self.init_solver.factors_moments

    @property
    def learning(self) -> LearningSteps | None:
        """What the solver learns in a block; None for one that takes no optimiser steps."""
        return None

    def shortened(self, steps: int) -> Solver:  # noqa: ARG002 - only learning has steps
        """The solver with so many optimiser steps, to be tried out."""
        return self

    @property
    def cheaper(self) -> Solver:
        """What goes through the same parts of a job and takes little time to solve a layer, to be tried out instead."""
        return Nearest(clip_search=True, importance=True)

    @property
    def randomised(self) -> bool:
        """Whether the result depends on the recipe's seed."""
        return False

    def searches(self, scheme: Scheme) -> bool:  # noqa: ARG002 - subclasses look at the scheme
        """Whether values are chosen by comparing sums, which may differ in their last digits between devices."""
        return False


@dataclass(frozen=True)
class Nearest(Solver):
    """Each weight takes the nearest value the scheme can represent."""

    key: ClassVar[str] = "nearest"
    title: ClassVar[str] = "Nearest"
    summary: ClassVar[str] = "Each weight takes the nearest representable value; needs no calibration."
    source: ClassVar[str] = "Clip search: grid over shrink factors, as in Banner et al., arXiv 1810.05723, section 3"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("clip", clip_search=True),
        word("{clip_steps} steps"),
        word("to {clip_least}"),
        word("weighted", importance=True),
    )

    clip_search: bool = setting(
        False,
        title="Search clipping",
        help="Try shrunken scales and keep the one of least squared error: outliers are clipped where that pays.",
        requires="scale",
    )
    clip_steps: int = setting(
        20,
        title="Clipping steps",
        help="How many shrink factors are tried.",
        minimum=2,
        maximum=200,
        when=("clip_search", (True,)),
        requires="scale",
    )
    clip_least: float = setting(
        0.6,
        title="Minimum shrink factor",
        help="The strongest shrinking of the scale that is tried.",
        minimum=0.1,
        maximum=0.99,
        when=("clip_search", (True,)),
        requires="scale",
    )

    importance: bool = setting(
        False,
        title="Weigh by importance",
        help="Weigh each squared error by the mean square of the input it is multiplied with; takes calibration text.",
        when=("clip_search", (True,)),
        requires="scale",
    )

    def needs(self, scheme: Scheme) -> Need:
        return "inputs" if scheme.weighs or (self.importance and self.searches(scheme)) else "weights"

    def refusal(self, scheme: Scheme) -> str:
        if scheme.allocated:
            return f"'{scheme.tag}' goes by what the layers' outputs lose: take 'whitened_svd'"
        return ""

    def tag(self, scheme: Scheme) -> str:
        if not self.searches(scheme):
            return ""
        default = Nearest()
        steps = f" {self.clip_steps} steps" if self.clip_steps != default.clip_steps else ""
        least = f" to {self.clip_least}" if self.clip_least != default.clip_least else ""
        return f"clip{steps}{least}" + (" weighted" if self.importance else "")

    def searches(self, scheme: Scheme) -> bool:
        return self.clip_search and "scale" in scheme.capabilities
