"""The arithmetic of every scheme, registered by explicit import."""

from __future__ import annotations

from typing import Any

from core.methods.scheme import Scheme
from core.schemes.arithmetic import SchemeArithmetic
from core.schemes.codebook import CodebookArithmetic
from core.schemes.floating import FloatingArithmetic
from core.schemes.integer import IntegerArithmetic
from core.schemes.microscaling import MicroscalingArithmetic, NvFloat4Arithmetic
from core.schemes.nonlinear import NonLinearArithmetic
from core.schemes.outliers import OutliersArithmetic
from core.schemes.sparse import SparseArithmetic
from core.schemes.vector_codebook import VectorCodebookArithmetic

ARITHMETIC: dict[type[Scheme], type[SchemeArithmetic[Any]]] = {
    arithmetic.scheme: arithmetic
    for arithmetic in (
        IntegerArithmetic,
        CodebookArithmetic,
        VectorCodebookArithmetic,
        OutliersArithmetic,
        NonLinearArithmetic,
        FloatingArithmetic,
        MicroscalingArithmetic,
        NvFloat4Arithmetic,
        SparseArithmetic,
    )
}


def arithmetic_of(scheme: Scheme) -> type[SchemeArithmetic[Any]]:
    """The arithmetic of a scheme. `keep` has none: its layers are copied, not computed."""
    return ARITHMETIC[type(scheme)]
