"""Every method, registered by explicit import."""

from __future__ import annotations

from core.methods.codebook import Codebook
from core.methods.floating import Floating
from core.methods.integer import Integer
from core.methods.keep import Keep
from core.methods.microscaling import Microscaling, NvFloat4
from core.methods.nonlinear import NonLinear
from core.methods.outliers import Outliers
from core.methods.scheme import Scheme
from core.methods.solver import Nearest, Solver
from core.methods.sparse import Sparse
from core.methods.transform import Transform

SCHEMES: dict[str, type[Scheme]] = {
    scheme.key: scheme
    for scheme in (
        Keep,
        Integer,
        Codebook,
        Outliers,
        NonLinear,
        Floating,
        Microscaling,
        NvFloat4,
        Sparse,
    )
}
SOLVERS: dict[str, type[Solver]] = {solver.key: solver for solver in (Nearest,)}
TRANSFORMS: dict[str, type[Transform]] = {}
