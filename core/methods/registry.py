"""Every method, registered by explicit import."""

from __future__ import annotations

from core.methods.codebook import Codebook
from core.methods.error_feedback import ErrorFeedback
from core.methods.floating import Floating
from core.methods.fold import Fold
from core.methods.half_quadratic import HalfQuadratic
from core.methods.integer import Integer
from core.methods.keep import Keep
from core.methods.learned_rounding import LearnedRounding
from core.methods.microscaling import Microscaling, NvFloat4
from core.methods.nonlinear import NonLinear
from core.methods.outliers import Outliers
from core.methods.rotate import Rotate
from core.methods.scale import Scale
from core.methods.scheme import Scheme
from core.methods.smooth import Smooth
from core.methods.solver import Nearest, Solver
from core.methods.sparse import Sparse
from core.methods.transform import Transform
from core.methods.vector_codebook import VectorCodebook

SCHEMES: dict[str, type[Scheme]] = {
    scheme.key: scheme
    for scheme in (
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
    )
}
SOLVERS: dict[str, type[Solver]] = {
    solver.key: solver for solver in (Nearest, ErrorFeedback, HalfQuadratic, LearnedRounding)
}
TRANSFORMS: dict[str, type[Transform]] = {transform.key: transform for transform in (Fold, Rotate, Smooth, Scale)}
