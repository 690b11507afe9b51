"""What solvers of whole blocks are given: the block at work, and the layers that they solve together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Solver
from benchvise.core.solvers.solution import InputStatistics, Solution


class BlockForward(Protocol):
    """A block of a network, called as the model itself calls it."""

    @property
    def module(self) -> nn.Module:
        """The block. Its weights may be changed."""

    def with_parameters(self, parameters: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
        """The block's output for `hidden`, both float32 [windows, tokens, width], differentiable in `parameters`.

        parameters: float32, by their names inside the block, in place of the block's own.
        """


@dataclass(frozen=True)
class BlockLayer:
    """A layer that is solved together with others of its block.

    parameter:  the name of its weight inside the block: "self_attn.q_proj.weight". It holds what `initial` decodes to,
                [*layer.shape] (`from_matrix` makes it of a matrix).
    weight:     its own weight after all transforms, as a matrix [outputs, inputs] in the layer's dtype.
    initial:    the solution of `Solver.init_solver`, for inputs that came through the layers solved before it.
    statistics: of those inputs; None where there are none.
    """

    layer: Layer
    parameter: str
    scheme: Scheme
    solver: Solver
    weight: Tensor
    initial: Solution
    statistics: InputStatistics | None
