"""A recipe's transforms, carried out on the network as the walk goes through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch

from benchvise.core.blockwise.network import Network
from benchvise.core.errors import RecipeError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.scheme import Scheme
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.transforms.transform import BlockRewrite, NetworkRewrite


class Transforms:
    """All transforms of a recipe, those of the whole network before those that are found block by block.

    Raises RecipeError where the network cannot be transformed.
    """

    def __init__(self, recipe: Recipe, network: Network, progress: Progress) -> None:
        self._network = network
        self._progress = progress
        self._everywhere: list[NetworkRewrite[Any]] = []
        self._by_block: list[BlockRewrite[Any]] = []
        self._told: set[str] = set()
        if not recipe.transforms:
            return
        if network.whole:
            raise RecipeError(
                f"Transforms go block by block, and {type(network.model).__name__} cannot be taken apart into blocks",
                where=recipe.transforms[0].title,
                remedy="Remove 'transforms' from the recipe.",
            )
        from benchvise.core.transforms.registry import rewrite_of

        for transform in recipe.transforms:
            rewrite = rewrite_of(transform)
            if issubclass(rewrite, NetworkRewrite):
                self._everywhere.append(rewrite(transform, network.model, network.blocks, recipe.seed))
            else:
                self._by_block.append(rewrite(transform))

    @property
    def some(self) -> bool:
        return bool(self._everywhere or self._by_block)

    @torch.no_grad()
    def change_ends(self) -> None:
        """Change what lies outside the blocks, and say what is not done."""
        for transform in self._everywhere:
            transform.embedding_and_head(self._network.model)
            for note in transform.notes:
                self._tell(note)

    @torch.no_grad()
    def change_block(
        self, index: int, run: Callable[[], None], schemes: Mapping[str, tuple[Scheme, Activations | None]]
    ) -> None:
        """Change block `index`, which has its weights. run: as `BlockRewrite.apply` asks."""
        block = self._network.blocks[index]
        for transform in self._everywhere:
            transform.block(block, index)
        for rewrite in self._by_block:
            for note in rewrite.apply(block, run, schemes):
                self._tell(f"Block {index}: {note}")

    def _tell(self, note: str) -> None:
        if note not in self._told:
            self._told.add(note)
            self._progress.note(note)
