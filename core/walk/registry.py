"""Solvers that look at a whole block at work, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from core.methods.learned_rounding import LearnedRounding
from core.methods.solver import Solver
from core.progress import Progress
from core.solvers.solution import Solution
from core.walk.block_layer import BlockLayer
from core.walk.block_run import BlockRun
from core.walk.learned_rounding import solve_block

SolveBlock = Callable[
    [BlockRun, Sequence[BlockLayer], Sequence[Tensor], Sequence[Tensor], int, Progress], dict[str, Solution]
]

SOLVE_BLOCK: dict[type[Solver], SolveBlock] = {LearnedRounding: solve_block}
"""(run, layers, inputs, targets, seed, progress) → solutions by the layers' names.

inputs:  hidden states as the block will get them, in batches [windows, tokens, width] float32; do not change them.
targets: what the original block gave for the original network's hidden states, batch by batch.
Layers of the block that other solvers had are compressed already. The weights in the block may be changed; the walk
puts the decoded ones there afterwards. The solver's settings are in each layer's treatment.
"""
