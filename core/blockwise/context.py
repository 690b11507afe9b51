"""What all parts of a calibrated job share, and the solving of layers one by one."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import torch
from torch import Tensor

from benchvise.core.blockwise.network import Network
from benchvise.core.blockwise.recorder import Recorder, Solved
from benchvise.core.blockwise.statistics import Learned
from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.compress.whole_matrix import matrix_of, solve_matrix
from benchvise.core.methods.activations import INPUT_SCALE
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.runtime.quantised_inputs import InputQuantiser, linear_of
from benchvise.core.runtime.replace import holder_name, read_weight, replace_weight
from benchvise.core.schemes.arithmetic import Shared
from benchvise.core.solvers.context import SolverContext, layer_context
from benchvise.core.solvers.solution import Solution


@dataclass
class BlockwiseJob:
    """shares: what global fits say to layers, by their names. results: of the layers finished so far, likewise."""

    recipe: Recipe
    network: Network
    recorder: Recorder
    shares: Mapping[str, Shared]
    progress: Progress
    results: dict[str, LayerCompressed] = field(default_factory=dict)

    def solve(self, rows: Sequence[PlanRow], learned: Learned, share: Progress) -> None:
        """Solve the rows one by one; `share` advances by their weights."""
        for row in rows:
            self.progress.check_cancelled()
            started, name = time.monotonic(), row.layer.name
            weight = self.weight(row)
            statistics, shared = learned.statistics.get(name), self.shares.get(name)
            found = solve_matrix(weight, row.treatment, statistics, self.context_of(row, weight), shared)
            self.finish(row, weight, found, learned, started)
            share.advance(row.layer.parameters)

    def context_of(self, row: PlanRow, weight: Tensor) -> SolverContext:
        """What the solver of the layer is given besides its `weight`, of any shape and dtype."""
        return layer_context(self.recipe.seed, row.layer.name, self.progress, weight.device.type)

    def weight(self, row: PlanRow) -> Tensor:
        """The layer's weight as it is in the model, as the matrix [outputs, inputs] that is solved, float32."""
        if holder_name(self.network.model, row.layer) is None:
            return matrix_of(row.layer, self.network.weights.dense(row.layer))
        return matrix_of(row.layer, read_weight(self.network.model, row.layer))

    @torch.no_grad()
    def put(self, row: PlanRow, solution: Solution) -> bool:
        """Let the model compute with the solution; False where it has no place for the layer."""
        if holder_name(self.network.model, row.layer) is None:
            return False
        replace_weight(self.network.model, row.layer, from_matrix(row.layer, solution.decoded))
        return True

    def finish(self, row: PlanRow, weight: Tensor, solution: Solution, learned: Learned, started: float) -> None:
        """Put a solved layer in the model, round its inputs from now on if they are to be, and record it.

        weight: float32 [outputs, inputs], as it was before. started: when it was begun, as `time.monotonic` gives it.
        """
        name = row.layer.name
        scale = learned.observers[name].scale() if name in learned.observers else None
        if self.put(row, solution):
            self._round_inputs(row, scale)
        solved = Solved(
            row,
            weight,
            replace(solution, notes=(*learned.notes.get(name, ()), *solution.notes)),
            learned.statistics.get(name),
            time.monotonic() - started,
            {} if scale is None else {INPUT_SCALE: scale},
        )
        self.results[name] = self.recorder.keep_solved(solved)

    def _round_inputs(self, row: PlanRow, scale: Tensor | None) -> None:
        """What comes after the layer is to see what a runtime that rounds its inputs will give."""
        module, settings = linear_of(self.network.model, row.layer), row.treatment.activations
        if settings is not None and module is not None:
            on_device = None if scale is None else scale.to(self.network.device)
            hook = module.register_forward_pre_hook(InputQuantiser(settings, on_device))
            self.network.on_drop(hook.remove)
