"""What a solver is given besides the weight, the methods' settings and the statistics."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import torch

from benchvise.core.progress import NULL_PROGRESS, Progress


@dataclass(frozen=True)
class SolverContext:
    """seed:     of everything the solver draws at random, from 0 to 2^63 − 1.
    progress: `check_cancelled` is called at least every 0.1 s of work, or between operations of torch where one takes
              longer. Solvers of blocks also call `start` and `advance`.
    device:   where the weight lies and is solved: "cpu", "cuda".
    """

    seed: int
    progress: Progress
    device: str

    def generator(self) -> torch.Generator:
        """A new generator on the CPU, whatever the device, so that results are the same everywhere."""
        return torch.Generator().manual_seed(self.seed)


NULL_CONTEXT = SolverContext(0, NULL_PROGRESS, "cpu")
"""For tests and library use: seed 0, nothing to cancel."""


def layer_context(seed: int, layer: str, progress: Progress, device: str) -> SolverContext:
    """The context in which the layer of this name is solved. Its seed depends on the recipe's `seed` and the name."""
    digest = hashlib.sha256(f"{seed}/{layer}".encode()).digest()
    return SolverContext(int.from_bytes(digest[:8], "little") >> 1, progress, device)
