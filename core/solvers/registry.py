"""The arithmetic of every solver, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor

from core.methods.error_feedback import ErrorFeedback
from core.methods.half_quadratic import HalfQuadratic
from core.methods.solver import Nearest, Solver
from core.schemes.arithmetic import SchemeArithmetic, Shared
from core.schemes.matrix import Matrix, SolvedRows
from core.solvers.error_feedback import error_feedback
from core.solvers.half_quadratic import half_quadratic
from core.solvers.nearest import nearest
from core.solvers.solution import InputStatistics, Solution
from core.solvers.whole_nearest import whole_nearest

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
