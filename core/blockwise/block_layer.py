"""A layer that is solved together with others of its block."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from benchvise.core.checkpoint.records import Layer
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.solution import InputStatistics, Solution


@dataclass(frozen=True)
class BlockLayer:
    """A layer that is to be solved together with others of its block.

    parameter:  the name of its weight inside the block: "self_attn.q_proj.weight". What is there by now is what `begun`
                decodes to, in the layer's own shape (`from_matrix` makes it of a matrix).
    weight:     its own weight after all transforms, as a matrix [outputs, inputs] in the layer's dtype.
    begun:      the solution of `Solver.init_solver`, for inputs that came through the layers begun before it.
    statistics: of those inputs; None where there are none.
    started:    when the layer was begun, as `time.monotonic` gives it.
    """

    layer: Layer
    parameter: str
    treatment: Treatment
    weight: Tensor
    begun: Solution
    statistics: InputStatistics | None
    started: float
