"""The arithmetic of every solver, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.solvers.error_feedback import error_feedback
from benchvise.core.solvers.half_quadratic import half_quadratic
from benchvise.core.solvers.nearest import nearest
from benchvise.core.solvers.solution import InputStatistics, Solution
from benchvise.core.solvers.whole_nearest import whole_nearest

Solve = Callable[[Matrix, Any, Any, Shared | None], tuple[Iterator[SolvedRows], SchemeArithmetic[Any]]]

SOLVE: dict[type[Solver], Solve] = {Nearest: nearest}
"""Solvers that read a weight as a stream of rows and need nothing else."""

SolveMatrix = Callable[[Tensor, Any, Any, InputStatistics | None], Solution]

SOLVE_MATRIX: dict[type[Solver], SolveMatrix] = {
    Nearest: whole_nearest,
    ErrorFeedback: error_feedback,
    HalfQuadratic: half_quadratic,
}
"""Solvers of a whole matrix: (weight [rows, columns] in its dtype, scheme, solver, statistics of its inputs).

Statistics are None where there are none (no architecture, an embedding); what is lost then is told in the notes.
"""
