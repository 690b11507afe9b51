"""What computes for every solver: ours by explicit import, that of other packages by the solver itself."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.plugins import implementation
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared
from benchvise.core.schemes.matrix import Matrix, SolvedRows
from benchvise.core.solvers.block import BlockForward, BlockLayer
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.error_feedback import error_feedback
from benchvise.core.solvers.half_quadratic import half_quadratic
from benchvise.core.solvers.learned_rounding import learned_rounding
from benchvise.core.solvers.nearest import nearest_matrix, nearest_rows
from benchvise.core.solvers.solution import InputStatistics, Solution
from benchvise.core.solvers.whitened_svd import whitened_svd

SolveRows = Callable[
    [Matrix, Any, Any, Shared | None, SolverContext], tuple[Iterator[SolvedRows], SchemeArithmetic[Any]]
]
"""(matrix, scheme, solver, global fit, context) → solved rows in order, and the arithmetic that has their tail."""

SolveMatrix = Callable[[Tensor, Any, Any, InputStatistics | None, SolverContext], Solution]
"""(weight [rows, columns] in its dtype, scheme, solver, statistics of its inputs, context).

Statistics are None where there are none (no architecture, an embedding); the notes say what is lost then.
"""

SolveBlock = Callable[
    [BlockForward, Sequence[BlockLayer], Sequence[Tensor], Sequence[Tensor], SolverContext], dict[str, Solution]
]
"""(block, layers, inputs, targets, context) → solutions by the layers' names.

inputs:  hidden states as the block will get them, in batches [windows, tokens, width] float32; do not change them.
targets: what the original block gave for the original network's hidden states, batch by batch.
Layers of the block that have other solvers are compressed already. The weights in the block may be changed; the caller
puts the decoded ones there afterwards. All layers have solvers of one class. The context's seed is the recipe's.
"""


@dataclass(frozen=True)
class SolverFunctions:
    """What a solver can do, as functions; at least one is given.

    rows:   for a weight that is read as a stream of rows, by solvers that need nothing else.
    matrix: for a weight in memory.
    block:  for the layers of a block that are solved together.
    """

    rows: SolveRows | None = None
    matrix: SolveMatrix | None = None
    block: SolveBlock | None = None


FUNCTIONS: dict[type[Solver], SolverFunctions] = {
    Nearest: SolverFunctions(rows=nearest_rows, matrix=nearest_matrix),
    ErrorFeedback: SolverFunctions(matrix=error_feedback),
    HalfQuadratic: SolverFunctions(matrix=half_quadratic),
    LearnedRounding: SolverFunctions(block=learned_rounding),
    WhitenedSvd: SolverFunctions(matrix=whitened_svd),
}


def functions_of(solver: Solver) -> SolverFunctions:
    """What computes for a solver. Raises RecipeError when the solver of another package gives none."""
    if type(solver) in FUNCTIONS:
        return FUNCTIONS[type(solver)]
    found: SolverFunctions = implementation(type(solver), SolverFunctions)
    return found
