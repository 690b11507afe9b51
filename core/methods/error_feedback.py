"""Error feedback: settings of the solver that makes later columns pay for the rounding of earlier ones."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Need, Solver
from benchvise.core.settings import setting


@dataclass(frozen=True)
class ErrorFeedback(Solver):
    """Columns are rounded one after the other; the columns still to come make good what each rounding did."""

    key: ClassVar[str] = "error_feedback"
    title: ClassVar[str] = "Error feedback (GPTQ)"
    summary: ClassVar[str] = "Round column by column; the columns still to come make good each one's error."
    source: ClassVar[str] = (
        "GPTQ, arXiv 2210.17323; its form, QuIP, arXiv 2307.13304; its target, GPTAQ, arXiv 2504.02692; "
        "more passes, QuantEase, arXiv 2309.01885; zeros, SparseGPT, arXiv 2301.00774, and ALPS, arXiv 2406.07831"
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
        word("zeros by {zeros}"),
        word("{search_steps} search steps"),
        word("no refit", refit=False),
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

    zeros: Literal["search", "spans"] = setting(
        "search",
        title="Zeros chosen",
        help="For the whole layer at once, by a search that goes between them and the values that stay (ADMM); or for "
        "each span of columns when its turn comes, by the scheme's score, which is faster (SparseGPT).",
        choices={"search": "By a search over the layer", "spans": "Span by span, by score"},
        requires="mask",
    )
    search_steps: int = setting(
        60,
        title="Search steps",
        help="How often the search solves for the values and chooses the zeros anew.",
        minimum=1,
        maximum=1000,
        suggestions=(30, 60, 200),
        when=("zeros", ("search",)),
        requires="mask",
    )
    refit: bool = setting(
        True,
        title="Refit",
        help="Find the values that stay by least squares on the layer's outputs, once the zeros are known.",
        requires="mask",
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
        if scheme.shared:
            return f"error feedback goes layer by layer, and '{scheme.tag}' is counted over several layers together"
        if "factors" in scheme.capabilities:
            return f"error feedback finds weights one by one, not factors as '{scheme.key}' has: take 'whitened_svd'"
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
        if "mask" in scheme.capabilities:
            parts += self._of_zeros()
        if "scale" not in scheme.capabilities:
            return " ".join(parts)
        if not self.clip_search:
            parts.append("no clip")
        if self.clip_steps != default.clip_steps:
            parts.append(f"{self.clip_steps} steps")
        if self.clip_least != default.clip_least:
            parts.append(f"to {self.clip_least:g}")
        return " ".join(parts)

    def _of_zeros(self) -> list[str]:
        default, parts = ErrorFeedback(), []
        if self.zeros != default.zeros:
            parts.append(f"zeros by {self.zeros}")
        elif self.search_steps != default.search_steps:
            parts.append(f"{self.search_steps} search steps")
        if not self.refit:
            parts.append("no refit")
        return parts
