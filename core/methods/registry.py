"""Every method: ours by explicit import, those of other packages by entry points."""

from __future__ import annotations

from typing import Any

from benchvise.core.methods.codebook import Codebook
from benchvise.core.methods.distil import Distil
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.fold import Fold
from benchvise.core.methods.gguf import Gguf
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.outliers import Outliers
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.prune_channels import PruneChannels
from benchvise.core.methods.rotate import Rotate
from benchvise.core.methods.scale import Scale
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.smooth import Smooth
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.methods.sparse import Sparse
from benchvise.core.methods.surgery import Surgery
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.methods.vector_codebook import VectorCodebook
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.plugins import Origin, Registry

SCHEMES: Registry[Scheme] = Registry(
    "benchvise.schemes",
    Scheme,
    (
        Keep,
        Integer,
        Codebook,
        VectorCodebook,
        Outliers,
        NonLinear,
        Floating,
        Microscaling,
        NvFloat4,
        Sparse,
        LowRank,
        Gguf,
    ),
)
SOLVERS: Registry[Solver] = Registry(
    "benchvise.solvers", Solver, (Nearest, ErrorFeedback, HalfQuadratic, LearnedRounding, WhitenedSvd)
)
TRANSFORMS: Registry[Transform] = Registry("benchvise.transforms", Transform, (Fold, Rotate, Smooth, Scale))
SURGERIES: Registry[Surgery] = Registry("benchvise.surgeries", Surgery, (DropBlocks, PruneChannels))
TUNINGS: Registry[Tuning] = Registry("benchvise.tunings", Tuning, (Polish, Distil))

Method = Scheme | Solver | Transform | Surgery | Tuning
AXES: dict[type[Any], Registry[Any]] = {
    Scheme: SCHEMES,
    Solver: SOLVERS,
    Transform: TRANSFORMS,
    Surgery: SURGERIES,
    Tuning: TUNINGS,
}
"""The registry of every kind of method."""


def origin_of(method: Method) -> Origin | None:
    """The distribution that a method comes from; None for our own.

    Its version belongs to the identity of results: another version may compute something else.
    """
    registry = next(registry for base, registry in AXES.items() if isinstance(method, base))
    return registry.origin(method.key)
