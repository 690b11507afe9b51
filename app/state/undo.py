"""Undo: commands that hold the recipe before and after."""

from __future__ import annotations

import time
from collections.abc import Callable

from PySide6.QtGui import QUndoCommand, QUndoStack

from benchvise.core.language import tr
from benchvise.core.recipe.recipe import Recipe

MERGE_SECONDS = 1.0
_RECIPE_EDIT = 1


class RecipeEdit(QUndoCommand):
    """One edit of the recipe.

    before: the recipe that undoing puts in place again.
    merge_key: edits with the same key that follow within a second become one step (dragging a slider); "" never merges.
    """

    def __init__(
        self, put: Callable[[Recipe], None], before: Recipe, after: Recipe, title: str, merge_key: str = ""
    ) -> None:
        super().__init__(title)
        self._put = put
        self.before = before
        self._after = after
        self._merge_key = merge_key
        self._made = time.monotonic()

    def id(self) -> int:
        return _RECIPE_EDIT

    def mergeWith(self, other: QUndoCommand) -> bool:
        if not isinstance(other, RecipeEdit) or not self._merge_key or other._merge_key != self._merge_key:
            return False
        if other._made - self._made > MERGE_SECONDS:
            return False
        self._after, self._made = other._after, other._made
        self.setText(other.text())
        self.setObsolete(self._after == self.before)
        return True

    def redo(self) -> None:
        self._put(self._after)

    def undo(self) -> None:
        self._put(self.before)


def recipe_title(recipe: Recipe, stack: QUndoStack) -> str:
    """The recipe's name, or that of the named recipe it was edited from: "int4-g128", "int4-g128 (edited)"."""
    if recipe.name or not recipe.rules:
        return recipe.name
    for place in reversed(range(stack.index())):
        edit = stack.command(place)
        if isinstance(edit, RecipeEdit) and not edit.before.rules:
            return ""
        if isinstance(edit, RecipeEdit) and edit.before.name:
            return tr("{name} (edited)", name=edit.before.name)
    return ""
