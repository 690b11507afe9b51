"""Solvers that look at a whole block at work, registered by explicit import."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torch import Tensor

from benchvise.core.blockwise.block_layer import BlockLayer
from benchvise.core.blockwise.block_run import BlockRun
from benchvise.core.blockwise.learned_rounding import solve_block
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.methods.solver import Solver
from benchvise.core.progress import Progress
from benchvise.core.solvers.solution import Solution

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
