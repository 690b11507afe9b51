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
        self._outline = ModelStructure(model, blocks)
        self.notes = self._outline.notes

    def ends(self, model: nn.Module) -> None:
        self.notes += fold_norms(self._outline.ends, model, self._outline.tied)

    def block(self, block: nn.Module, index: int) -> None:
        structure, _ = self._outline.of(block)
        self.notes += tuple(f"block {index}: {note}" for note in fold_norms(structure, block))
