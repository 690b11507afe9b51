"""One treatment on one layer: solved block by block, with what came of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.checkpoint.tensors import torch_dtype
from benchvise.core.compress.ahead import ahead
from benchvise.core.compress.layer_matrix import LayerMatrix, LayerReader
from benchvise.core.compress.quality import Quality
from benchvise.core.compress.whole_matrix import matrix_of, solve_matrix, streams
from benchvise.core.errors import CheckpointError
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.schemes.grid_arithmetic import STREAMED
from benchvise.core.schemes.matrix import SolvedRows
from benchvise.core.solvers.context import SolverContext, layer_context
from benchvise.core.solvers.registry import functions_of


@dataclass(frozen=True)
class LayerSolution:
    """A layer under way. Once its `rows` are used up, `tail` holds the remaining stored tensors.

    quality: of the rows that were handed out so far; notes: what the solver did, complete after the last row.
    device: where it is computed.
    """

    rows: Iterator[SolvedRows]
    rest: Callable[[], dict[str, Tensor]]
    device: str
    quality: Quality = field(default_factory=Quality)
    notes: list[str] = field(default_factory=list)

    def measured_rows(self) -> Iterator[SolvedRows]:
        """The rows in order; `quality` grows with each."""
        for part in ahead(self.rows):
            self.quality.add(part.original, part.decoded)
            yield part

    def tail(self) -> dict[str, Tensor]:
        """The stored tensors [...] complete only after the last row, with the dtypes that the treatment declares."""
        return self.rest()


@dataclass(frozen=True)
class TreatedLayer:
    """What a treatment makes of a layer: `weight` [*layer.shape] in its dtype, and the tail of what is stored."""

    weight: Tensor
    tail: dict[str, Tensor]
    quality: Quality


def solve_layer(
    layer: Layer,
    treatment: Treatment,
    reader: LayerReader,
    progress: Progress,
    shared: Shared | None = None,
    *,
    seed: int = 0,
) -> LayerSolution:
    """The layer's rows under the treatment, as a stream. Ignores statistics even if the solver could use them.

    reader: what gives the layer's values. seed: the recipe's.
    Raises CheckpointError for weights that are NaN or infinite, naming the layer.
    """
    context = layer_context(seed, layer.name, progress, device_for(treatment))
    solve = functions_of(treatment.solver).rows
    if solve is None or not streams(treatment):
        return _whole(layer, treatment, reader, context, shared)
    matrix = LayerMatrix(layer, reader, progress, context.device, searched=_searched(treatment))
    rows, arithmetic = solve(matrix, treatment.scheme, treatment.solver, shared, context)
    notes = [shared.note] if shared is not None and shared.note else []
    return LayerSolution(rows, arithmetic.tail, context.device, notes=notes)


def _whole(
    layer: Layer, treatment: Treatment, reader: LayerReader, context: SolverContext, shared: Shared | None
) -> LayerSolution:
    """For solvers that need all of a matrix at once."""
    tail: dict[str, Tensor] = {}
    notes: list[str] = []

    def rows() -> Iterator[SolvedRows]:
        weight = matrix_of(layer, reader.dense(layer)).to(context.device)
        solution = solve_matrix(weight, treatment, None, context, shared)
        tail.update({name: part for name, part in solution.stored.items() if name not in STREAMED})
        notes.extend(solution.notes)
        stored = {name: part for name, part in solution.stored.items() if name in STREAMED}
        yield SolvedRows(0, weight, stored, solution.decoded)

    return LayerSolution(rows(), lambda: tail, context.device, notes=notes)


def device_for(treatment: Treatment) -> str:
    """Where a treatment is computed: searches compare sums, which differ between devices, so they stay on the CPU."""
    return "cuda" if torch.cuda.is_available() and not _searched(treatment) else "cpu"


def _searched(treatment: Treatment) -> bool:
    return treatment.scheme.searched or treatment.solver.searches(treatment.scheme)


def treat(layer: Layer, treatment: Treatment, reader: LayerReader, progress: Progress) -> TreatedLayer:
    """What the treatment, which must not be to keep, makes of the layer, whose values `reader` gives.

    A global scope is taken over this layer alone. Raises CheckpointError for a layer that is no floating-point matrix,
    and RecipeError where the treatment does not fit it. Raises as `solve_layer`.
    """
    if not layer.compressible:
        raise CheckpointError(
            f"'{layer.name}' ({layer.dtype}, shape {list(layer.shape)}) is no floating-point matrix",
            where=layer.tensor.file,
            remedy="Choose a weight of at least two dimensions.",
        )
    fitted = replace(treatment, scheme=treatment.scheme.fitted(layer)[0])
    solution = solve_layer(layer, fitted, reader, progress)
    matrix = torch.empty(layer.matrix_shape, dtype=torch_dtype(layer.dtype))
    for part in solution.measured_rows():
        matrix[part.start : part.start + part.decoded.shape[0]] = part.decoded
    return TreatedLayer(from_matrix(layer, matrix), solution.tail(), solution.quality)
