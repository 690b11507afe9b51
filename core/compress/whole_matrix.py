"""One weight in memory, solved under its treatment."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.compress.layer_matrix import refuse_not_finite
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.registry import SolveRows, functions_of
from benchvise.core.solvers.solution import InputStatistics, Solution

STREAMED_ROWS_BYTES = 4 << 20


def matrix_of(layer: Layer, values: Tensor) -> Tensor:
    """The values [*layer.shape] of any floating dtype as the matrix that is solved, in the layer's own dtype.

    Raises CheckpointError for NaN and infinity, naming the layer.
    """
    matrix = as_matrix(layer, values.detach()).to(torch_dtype(layer.dtype))
    refuse_not_finite(layer, 0, matrix)
    return matrix


def streams(treatment: Treatment) -> bool:
    """Whether the treatment can be carried out on rows as they come, from the weights alone."""
    return functions_of(treatment.solver).rows is not None and treatment.solver.needs(treatment.scheme) == "weights"


def solve_matrix(
    weight: Tensor,
    treatment: Treatment,
    statistics: InputStatistics | None,
    context: SolverContext,
    shared: Shared | None = None,
) -> Solution:
    """`weight` [rows, columns] in its own dtype under the treatment, from its inputs' statistics where there are any.

    Solvers that need the whole block, for which there is no block here, leave the nearest values with a clip search.
    Raises Cancelled. Raises TypeError for a solver that has no function for matrices.
    """
    scheme, solver = treatment.scheme, treatment.solver
    functions = functions_of(solver)
    if functions.rows is not None and streams(treatment):
        return _streamed(functions.rows, weight, treatment, context, shared)
    if functions.matrix is not None:
        return functions.matrix(weight, scheme, solver, statistics, context)
    if solver.needs(scheme) != "block":
        raise TypeError(f"{solver.key} solves no matrix")
    nearest = Treatment(scheme, Nearest(clip_search="scale" in scheme.capabilities))
    found = solve_matrix(weight, nearest, None, context, shared)
    return replace(found, notes=(f"{solver.title} needs the layer's block at work: solved as nearest", *found.notes))


def _streamed(
    solve: SolveRows, weight: Tensor, treatment: Treatment, context: SolverContext, shared: Shared | None
) -> Solution:
    matrix = _InMemory(weight, context.progress)
    rows, arithmetic = solve(matrix, treatment.scheme, treatment.solver, shared, context)
    decoded = torch.empty_like(weight, memory_format=torch.contiguous_format)
    stored: dict[str, list[Tensor]] = {}
    for part in rows:
        decoded[part.start : part.start + len(part.decoded)] = part.decoded
        for name, values in part.stored.items():
            stored.setdefault(name, []).append(values)
    return Solution({name: torch.cat(parts) for name, parts in stored.items()} | arithmetic.tail(), decoded)


@dataclass(frozen=True)
class _InMemory:
    """A weight [rows, columns] as solvers that stream read it."""

    weight: Tensor
    progress: Progress

    @property
    def rows(self) -> int:
        return self.weight.shape[0]

    @property
    def columns(self) -> int:
        return self.weight.shape[1]

    @property
    def dtype(self) -> torch.dtype:
        return self.weight.dtype

    def blocks(self) -> Iterator[tuple[int, Tensor]]:
        step = max(1, STREAMED_ROWS_BYTES // max(1, self.columns * self.weight.element_size()))
        for start in range(0, self.rows, step):
            self.progress.check_cancelled()
            yield start, self.weight[start : start + step]
