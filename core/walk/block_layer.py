"""A layer that is solved together with others of its block."""

from __future__ import annotations

from dataclasses import dataclass

from core.checkpoint.records import Layer
from core.recipe.recipe import Treatment
from core.solvers.solution import InputStatistics


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
