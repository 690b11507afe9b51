"""Rotation of the residual stream and of the values within heads, folded into the weights."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from benchvise.core.errors import RecipeError
from benchvise.core.methods.rotate import Rotate
from benchvise.core.transforms.coupling import CoupledGroup, Structure, rotate_heads
from benchvise.core.transforms.fold_norms import fold_norms
from benchvise.core.transforms.model_structure import ModelStructure
from benchvise.core.transforms.residual import Residual, residual_feeds, turn_residual
from benchvise.core.transforms.rotation import Rotation
from benchvise.core.transforms.transform import NetworkRewrite


class RotateNetwork(NetworkRewrite[Rotate]):
    """One rotation for the residual stream of the whole model, and one for the heads of each block."""

    def __init__(self, settings: Rotate, model: nn.Module, blocks: Sequence[nn.Module], seed: int) -> None:
        self.settings = settings
        self._seed = seed
        self._model_structure = ModelStructure(model, blocks)
        self.notes = self._model_structure.notes
        self._turn: Rotation | None = None
        self._ends_done = False
        refusals = self._model_structure.residual_refusals
        if settings.residual and refusals:
            self._refuse("; ".join(refusals))
        elif settings.residual:
            self._turn = Rotation(
                self._model_structure.outer_residual.width, seed, keeps_mean=self._model_structure.centred
            )
        if settings.heads and not any(_head_feeds(self._model_structure.of(block)[0]) for block in blocks):
            self.notes += ("no heads are turned: no layer's values reach the next one head by head",)

    def embedding_and_head(self, model: nn.Module) -> None:
        self._ends_done = True
        if self._turn is None:
            return
        model_structure = self._model_structure
        if not _foldable(model_structure, model):
            self._turn = None
            self._refuse(
                "the output head shares its weight with the embedding, so the gain of the last norm, which is not "
                "constant, cannot be folded into it"
            )
            return
        _fold_and_turn(
            model_structure.embedding_and_head, model, model_structure.outer_residual, self._turn, model_structure.tied
        )

    def block(self, block: nn.Module, index: int) -> None:
        if not self._ends_done:
            raise ValueError("the ends of the model come before its blocks: they decide whether these are turned")
        structure, residual = self._model_structure.of(block)
        if self._turn is not None:
            _fold_and_turn(structure, block, residual, self._turn, frozenset())
        if self.settings.heads:
            for group in _head_feeds(structure):
                rotate_heads(structure, block, group, Rotation(group.head, self._seed + 1 + index))

    def _refuse(self, reason: str) -> None:
        self.notes += (f"the residual stream is not turned: {reason}",)


def _head_feeds(structure: Structure) -> list[CoupledGroup]:
    return [group for group in structure.groups if not group.norm and group.head > 1]


def _foldable(model_structure: ModelStructure, model: nn.Module) -> bool:
    """Whether every norm before a tied head has a constant gain; the others are folded."""
    for group in residual_feeds(model_structure.embedding_and_head, model_structure.outer_residual.width):
        gain = model_structure.embedding_and_head.norm(model, group.source).gain
        tied = any(consumer.name in model_structure.tied for consumer in group.consumers)
        if tied and gain is not None and float(gain.max() - gain.min()) > 1e-6 * float(gain.abs().max()):
            return False
    return True


def _fold_and_turn(
    structure: Structure, root: nn.Module, residual: Residual, turn: Rotation, tied: frozenset[str]
) -> None:
    fold_norms(structure, root, tied)
    for group in residual_feeds(structure, residual.width):
        gain = structure.norm(root, group.source).gain
        if gain is not None and float(gain.max() - gain.min()) > 1e-6 * float(gain.abs().max()):
            raise RecipeError(
                f"'{group.source}' has a bias behind a gain near 0, which cannot be folded, so the residual stream "
                "cannot be turned",
                where=group.source,
                remedy="Turn off 'residual' in the rotation.",
            )
    turn_residual(structure, root, residual, turn)
