"""Solvers that look at a whole block at work, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from torch import Tensor

from core.checkpoint.records import Layer
from core.methods.solver import Solver
from core.progress import Progress
from core.recipe.recipe import Treatment
from core.solvers.solution import InputStatistics, Solution
from core.walk.block_run import BlockRun


@dataclass(frozen=True)
class BlockLayer:
    """A layer that is to be solved together with others of its block.

    parameter:  the name of its weight inside the block: "self_attn.q_proj.weight". What is there is the layer's own
                weight after all transforms, float32, in the layer's own shape (`as_matrix` turns it).
    statistics: of its inputs before anything in the block was solved; None where there are none.
    """

    layer: Layer
    parameter: str
    treatment: Treatment
    statistics: InputStatistics | None


SolveBlock = Callable[
    [BlockRun, Sequence[BlockLayer], Sequence[Tensor], Sequence[Tensor], int, Progress], dict[str, Solution]
]

SOLVE_BLOCK: dict[type[Solver], SolveBlock] = {}
"""(run, layers, inputs, targets, seed, progress) → solutions by the layers' names.

inputs:  hidden states as the block will get them, in batches [windows, tokens, width] float32; do not change them.
targets: what the original block gave for the original network's hidden states, batch by batch.
Layers of the block that other solvers had are compressed already. The weights in the block may be changed; the walk
puts the decoded ones there afterwards. The solver's settings are in each layer's treatment.
"""
