"""Whitened SVD: settings of the solver that finds factors at a layer's outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Need, Solver
from benchvise.core.settings import setting


@dataclass(frozen=True)
class WhitenedSvd(Solver):
    """Factors whose product gives the outputs nearest to the layer's, from the second moments of its inputs."""

    key: ClassVar[str] = "whitened_svd"
    title: ClassVar[str] = "Whitened SVD"
    summary: ClassVar[str] = "Find the factors whose outputs on calibration text are nearest to the layer's."
    source: ClassVar[str] = (
        "SVD-LLM, arXiv 2403.07378, section 3.1; by the outputs' covariance: Swift-SVD, arXiv 2604.01609; "
        "target: GPTAQ, arXiv 2504.02692"
    )
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("whitened"),
        word("target {original_target}"),
        word("damping {damping}"),
    )

    original_target: float = setting(
        0.5,
        title="Original's outputs",
        help="How far layers after compressed ones aim at the original network's outputs (1) instead of at their own "
        "weight's (0).",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.0, 0.5, 1.0),
    )
    damping: float = setting(
        0.01,
        title="Damping",
        help="Added to the diagonal of the inputs' second moments, as a share of its mean: little text tells little of "
        "most directions.",
        minimum=0.0,
        maximum=1.0,
        suggestions=(0.001, 0.01, 0.1),
    )

    @property
    def factors_moments(self) -> bool:
        return True

    @property
    def compares(self) -> bool:
        return self.original_target > 0

    @property
    def cheaper(self) -> Solver:
        return self

    def needs(self, scheme: Scheme) -> Need:  # noqa: ARG002 - whatever the scheme, the inputs decide
        return "inputs"

    def refusal(self, scheme: Scheme) -> str:
        if "factors" in scheme.capabilities:
            return ""
        return f"A whitened SVD finds factors, which '{scheme.key}' has not"

    def searches(self, scheme: Scheme) -> bool:  # noqa: ARG002 - sums decide every value
        return True

    def tag(self, scheme: Scheme) -> str:  # noqa: ARG002 - it serves one kind of scheme
        default = WhitenedSvd()
        parts = ["whitened"]
        if self.original_target != default.original_target:
            parts.append(f"target {self.original_target:g}")
        if self.damping != default.damping:
            parts.append(f"damping {self.damping:g}")
        return " ".join(parts)
