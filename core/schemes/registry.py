"""The arithmetic of every scheme: ours by explicit import, that of other packages by the scheme itself."""

from __future__ import annotations

from typing import Any

from benchvise.core.methods.scheme import Scheme
from benchvise.core.plugins import implementation
from benchvise.core.schemes.arithmetic import SchemeArithmetic
from benchvise.core.schemes.codebook import CodebookArithmetic
from benchvise.core.schemes.floating import FloatingArithmetic
from benchvise.core.schemes.gguf.arithmetic import GgufArithmetic
from benchvise.core.schemes.integer import IntegerArithmetic
from benchvise.core.schemes.low_rank import LowRankArithmetic
from benchvise.core.schemes.microscaling import MicroscalingArithmetic, NvFloat4Arithmetic
from benchvise.core.schemes.nonlinear import NonLinearArithmetic
from benchvise.core.schemes.outliers import OutliersArithmetic
from benchvise.core.schemes.sparse import SparseArithmetic
from benchvise.core.schemes.vector_codebook import VectorCodebookArithmetic

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
        LowRankArithmetic,
        GgufArithmetic,
    )
}


def arithmetic_of(scheme: Scheme) -> type[SchemeArithmetic[Any]]:
    """The arithmetic of a scheme. `keep` has none: its layers are copied, not computed.

    Raises RecipeError when the scheme of another package gives none.
    """
    if type(scheme) in ARITHMETIC:
        return ARITHMETIC[type(scheme)]
    found: type[SchemeArithmetic[Any]] = implementation(type(scheme), SchemeArithmetic)
    return found
