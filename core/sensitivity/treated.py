"""Layers under treatments, as whoever measures them needs them: solved once, and kept while there is room."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchvise.core.blockwise.estimated_kl import SEED
from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.output_error import output_error
from benchvise.core.compress.quality import Quality
from benchvise.core.compress.whole_matrix import matrix_of, solve_matrix
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.sensitivity.inputs import InputMoments
from benchvise.core.solvers.context import layer_context
from benchvise.core.weights.weights import Weights

KEPT_BYTES = 1 << 30


@dataclass(frozen=True)
class Treated:
    """weight: as it computes, [*layer.shape] in the layer's dtype. output_error: squared error of the layer's outputs
    over their energy, None where its inputs cannot be seen. sqnr_db: None without error. notes: what was departed from.
    """

    weight: Tensor
    sqnr_db: float | None
    output_error: float | None
    notes: tuple[str, ...] = ()


@dataclass
class TreatedLayers:
    """calibration: what solvers are shown, None when none of them looks. judged: inputs on the text that is
    measured.
    """

    weights: Weights
    calibration: InputMoments | None
    judged: InputMoments | None
    _kept: OrderedDict[tuple[str, Treatment], Treated] = field(default_factory=OrderedDict)
    _bytes: int = 0

    def of(self, layer: Layer, treatment: Treatment, progress: Progress) -> Treated:
        """The layer under the treatment. Raises CheckpointError for weights that are not finite. Raises Cancelled."""
        key = (layer.name, treatment)
        if key not in self._kept:
            found = self._kept[key] = self._solve(layer, treatment, progress)
            self._bytes += found.weight.nbytes
            while self._bytes > KEPT_BYTES and len(self._kept) > 1:
                self._bytes -= self._kept.popitem(last=False)[1].weight.nbytes
        return self._kept[key]

    @torch.no_grad()
    def _solve(self, layer: Layer, treatment: Treatment, progress: Progress) -> Treated:
        matrix = matrix_of(layer, self.weights.dense(layer))
        if treatment.keeps:
            return Treated(from_matrix(layer, matrix), None, 0.0)
        alone, notes = solved_alone(treatment)
        looks = alone.solver.needs(alone.scheme) != "weights"
        shown = self.calibration.of(layer) if looks and self.calibration is not None else None
        solution = solve_matrix(matrix, alone, shown, layer_context(SEED, layer.name, progress, matrix.device.type))
        if looks and shown is None:
            notes = (*notes, "solved from its weights alone: its inputs cannot be seen")
        quality = Quality()
        quality.add(matrix, solution.decoded)
        seen = self.judged.of(layer) if self.judged is not None else shown
        error = None if seen is None else output_error(matrix, solution.decoded, seen) or 0.0
        return Treated(from_matrix(layer, solution.decoded), quality.sqnr_db, error, notes)


def solved_alone(treatment: Treatment) -> tuple[Treatment, tuple[str, ...]]:
    """The treatment with a solver of single layers in the place of one of whole blocks, and what that means."""
    solver = treatment.solver.init_solver
    if solver is None:
        return treatment, ()
    return replace(treatment, solver=solver), (f"as {treatment.solver.title.lower()} begins, before it learns",)
