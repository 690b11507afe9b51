"""What is known of a whole model before its weights are there: each kind of block once, and what lies around them."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from benchvise.core.errors import RecipeError
from benchvise.core.transforms.coupling import Structure, find_coupling, structure_of
from benchvise.core.transforms.random_copy import FAULTS, PassThroughCopy, RandomCopy
from benchvise.core.transforms.residual import Residual, block_residual, outer_residual


class ModelStructure:
    """Blocks with the same modules and shapes are examined once.

    embedding_and_head, outer_residual: what lies around the blocks; modules by their names in the model.
    tied: linear layers there that share their weight with an embedding.
    """

    def __init__(self, model: nn.Module, blocks: Sequence[nn.Module]) -> None:
        stage = PassThroughCopy(model, blocks)
        self._kinds: dict[str, tuple[Structure, Residual]] = {}
        for block, stand_in in zip(blocks, stage.stand_ins, strict=True):
            kind = kind_of(block)
            if kind not in self._kinds:
                self._kinds[kind] = _looked_at(block, RandomCopy(block, stand_in.args, stand_in.kwargs))
        self.embedding_and_head = find_coupling(stage.model, stage.all_outputs, {stage.width})
        self.outer_residual = outer_residual(self.embedding_and_head, stage)
        self.tied = stage.tied

    @property
    def notes(self) -> tuple[str, ...]:
        structures = (*(structure for structure, _ in self._kinds.values()), self.embedding_and_head)
        return tuple(dict.fromkeys(note for structure in structures for note in structure.notes))

    @property
    def residual_refusals(self) -> tuple[str, ...]:
        """Why the residual stream cannot be turned, as phrases; empty when it can, tied weights aside."""
        residuals = (*(residual for _, residual in self._kinds.values()), self.outer_residual)
        return tuple(dict.fromkeys(residual.refusal for residual in residuals if residual.refusal))

    @property
    def centred(self) -> bool:
        """Whether a norm on the residual stream subtracts the mean."""
        return self.outer_residual.centred or any(residual.centred for _, residual in self._kinds.values())

    def of(self, block: nn.Module) -> tuple[Structure, Residual]:
        """What is known of a block of the model."""
        return self._kinds[kind_of(block)]


def kind_of(block: nn.Module) -> str:
    """Equal for blocks with the same modules and shapes."""
    shapes = ", ".join(f"{name} {tuple(parameter.shape)}" for name, parameter in block.named_parameters())
    return f"{block!r} {shapes}"


def _looked_at(block: nn.Module, random_copy: RandomCopy) -> tuple[Structure, Residual]:
    try:
        structure = structure_of(random_copy)
        return structure, block_residual(structure, random_copy)
    except FAULTS as error:
        raise RecipeError(
            f"A {type(block).__name__} cannot be run on made-up inputs, so no transform can be proven to keep its "
            f"function ({str(error).strip()[:200]})",
            remedy="Leave the transforms out of the recipe.",
        ) from error
