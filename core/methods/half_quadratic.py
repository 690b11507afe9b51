"""Half-quadratic quantisation: settings of the solver that fits grids robustly, from the weights alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.phrases import Phrase, head, word
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Solver
from benchvise.core.settings import setting


@dataclass(frozen=True)
class HalfQuadratic(Solver):
    """Scales and zero points of least |error|ᵖ, p < 1: a few weights may be far off if that serves all others."""

    key: ClassVar[str] = "half_quadratic"
    title: ClassVar[str] = "Half-quadratic (HQQ)"
    summary: ClassVar[str] = "Fit zero points and scales to most of the weights, not to outliers; no calibration."
    source: ClassVar[str] = "Badri and Shaji, Half-Quadratic Quantization of Large Machine Learning Models, 2023"
    phrases: ClassVar[tuple[Phrase, ...]] = (
        head("hqq"),
        word("p {norm}"),
        word("beta {beta}"),
        word("kappa {kappa}"),
        word("{iterations} iterations"),
        word("zeros alone", scales=False),
    )

    norm: float = setting(
        0.7,
        title="Norm",
        help="The power p of the errors that are added up. The smaller, the less a few large errors count.",
        minimum=0.1,
        maximum=1.0,
        suggestions=(0.5, 0.7, 1.0),
    )
    beta: float = setting(
        1.0,
        title="Weight of the quadratic part",
        help="How firmly errors, in steps of the grid, are tied to their robust stand-ins in the first iteration.",
        minimum=0.01,
        maximum=1e6,
    )
    kappa: float = setting(
        1.01,
        title="Growth",
        help="The factor by which that weight grows in each iteration.",
        minimum=1.0,
        maximum=10.0,
    )
    iterations: int = setting(
        20,
        title="Iterations",
        help="How often the stand-ins, the zero points and the scales are found anew; fewer once nothing improves.",
        minimum=1,
        maximum=1000,
    )
    scales: bool = setting(
        True,
        title="Fit scales too",
        help="Find scales and zero points together. Off: zero points alone, as the method was published.",
    )

    def refusal(self, scheme: Scheme) -> str:
        if not isinstance(scheme, Integer) or scheme.symmetric:
            return (
                f"half-quadratic fits zero points, which {scheme.tag} has not: take 'integer' with 'symmetric: false'"
            )
        if scheme.granularity in ("tensor", "block"):
            return "half-quadratic fits groups or channels, not a grid that rows share"
        return ""

    def searches(self, scheme: Scheme) -> bool:  # noqa: ARG002 - whatever the scheme, sums decide
        return True

    def tag(self, scheme: Scheme) -> str:  # noqa: ARG002 - the same for all
        default = HalfQuadratic()
        parts = ["hqq"]
        if self.norm != default.norm:
            parts.append(f"p {self.norm:g}")
        if self.beta != default.beta:
            parts.append(f"beta {self.beta:g}")
        if self.kappa != default.kappa:
            parts.append(f"kappa {self.kappa:g}")
        if self.iterations != default.iterations:
            parts.append(f"{self.iterations} iterations")
        if not self.scales:
            parts.append("zeros alone")
        return " ".join(parts)
