"""Norm folding through a whole model."""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

from benchvise.core.methods.fold import Fold
from benchvise.core.transforms.fold_norms import fold_norms
from benchvise.core.transforms.model_structure import ModelStructure
from benchvise.core.transforms.transform import NetworkRewrite


class FoldNorms(NetworkRewrite[Fold]):
    """Every norm that is read by linear layers alone, in the blocks and after them."""

    def __init__(self, settings: Fold, model: nn.Module, blocks: Sequence[nn.Module], seed: int) -> None:  # noqa: ARG002 - nothing to draw, nothing to set
        self._model_structure = ModelStructure(model, blocks)
        self.notes = self._model_structure.notes

    def embedding_and_head(self, model: nn.Module) -> None:
        self.notes += fold_norms(self._model_structure.embedding_and_head, model, self._model_structure.tied)

    def block(self, block: nn.Module, index: int) -> None:
        structure, _ = self._model_structure.of(block)
        self.notes += tuple(f"block {index}: {note}" for note in fold_norms(structure, block))
