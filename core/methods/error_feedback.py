"""Error feedback: settings of the solver that makes later columns pay for the rounding of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Need, Solver
from benchvise.core.methods.sparse import Sparse
from benchvise.core.settings import setting


@dataclass(frozen=True)
class ErrorFeedback(Solver):
    """Columns are rounded one after the other; the columns still to come make good what each rounding did."""

    key: ClassVar[str] = "error_feedback"
    title: ClassVar[str] = "Error feedback (GPTQ)"
    summary: ClassVar[str] = "Round column by column; the columns still to come make good each one's error."
    source: ClassVar[str] = (
        "GPTQ, arXiv 2210.17323; its form, QuIP, arXiv 2307.13304; its target, GPTAQ, arXiv 2504.02692; "
        "more passes, QuantEase, arXiv 2309.01885"
    )
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("gptq"),
        word("damping {damping}"),
        word("{order} order"),
        word("{passes} passes"),
        word("target {original_target}"),
        word("no clip", clip_search=False),
        word("{clip_steps} steps"),
        word("to {clip_least}"),
    )

    damping: float = setting(
        0.01,
        title="Damping",
        help="Added to the diagonal of the inputs' second moments, as a share of its mean. It is raised, and that is "
        "said, where the moments are singular.",
        minimum=0.0,
        maximum=10.0,
        suggestions=(0.001, 0.01, 0.1),
    )
    order: Literal["groups", "columns", "natural"] = setting(
        "groups",
        title="Order",
        help="Which columns are rounded first, while many are left to make good their errors. The most important "
        "groups, and within them the most important columns; the most important columns of all, with parameters fixed "
        "before; or as they lie.",
        choices={"groups": "Important groups first", "columns": "Important columns first", "natural": "As they lie"},
    )
    original_target: float = setting(
        0.5,
        title="Aim at the original's outputs",
        help="Where the inputs come from the compressed prefix: how far to go from what the layer makes of them "
        "(0) to what the original layer made of the original ones (1), which also shrinks what errors blur.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.0, 0.25, 0.5, 1.0),
    )
    passes: int = setting(
        2,
        title="More passes",
        help="How often each column is rounded again, all others given. Each pass costs about as much as the first, "
        "and the fewer the bits, the more it gains.",
        minimum=0,
        maximum=100,
        suggestions=(0, 2, 4, 8),
    )
    clip_search: bool = setting(
        True,
        title="Search clipping",
        help="Fit each group by a search that weighs every column by what its error will cost in the end.",
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

    @property
    def factors_moments(self) -> bool:
        return True

    @property
    def compensates(self) -> bool:
        return True

    @property
    def compares(self) -> bool:
        return self.original_target > 0

    def needs(self, scheme: Scheme) -> Need:  # noqa: ARG002 - whatever the scheme, the inputs decide
        return "inputs"

    def refusal(self, scheme: Scheme) -> str:
        if isinstance(scheme, Sparse):
            return "error feedback takes a scheme with values to round to, which 'sparse' has not"
        return ""

    def searches(self, scheme: Scheme) -> bool:  # noqa: ARG002 - sums decide every code
        return True

    def tag(self, scheme: Scheme) -> str:
        default = ErrorFeedback()
        parts = ["gptq"]
        if self.damping != default.damping:
            parts.append(f"damping {self.damping:g}")
        if self.order != default.order:
            parts.append(f"{self.order} order")
        if self.passes != default.passes:
            parts.append(f"{self.passes} passes")
        if self.original_target != default.original_target:
            parts.append(f"target {self.original_target:g}")
        if "scale" not in scheme.capabilities:
            return " ".join(parts)
        if not self.clip_search:
            parts.append("no clip")
        if self.clip_steps != default.clip_steps:
            parts.append(f"{self.clip_steps} steps")
        if self.clip_least != default.clip_least:
            parts.append(f"to {self.clip_least:g}")
        return " ".join(parts)
