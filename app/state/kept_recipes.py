"""The recipe of each model, kept without being asked for, and put in place when the model is opened again."""

from __future__ import annotations

import hashlib
from pathlib import Path

from PySide6.QtCore import QObject, QTimer

from benchvise.app.state.document import Document
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import UserError
from benchvise.core.language import tr
from benchvise.core.recipe.recipe import Recipe, load_recipe
from benchvise.core.workspace.atomic_files import write_text

DELAY_MS = 2000
"""After the last edit: a slider that is dragged writes nothing."""


class KeptRecipes(QObject):
    """One file for each path of a checkpoint; an empty recipe has none. What cannot be read or written is left."""

    def __init__(self, document: Document, folder: Path, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._folder = folder
        self._checkpoint: Checkpoint | None = None
        self._waiting: tuple[Path, Recipe] | None = None
        self._timer = QTimer(self, singleShot=True, interval=DELAY_MS)
        self._timer.timeout.connect(self.flush)
        document.checkpoint_changed.connect(self._opened)
        document.recipe_changed.connect(self._edited)

    def file_of(self, path: str) -> Path:
        return self._folder / f"{hashlib.sha256(path.encode()).hexdigest()[:24]}.yaml"

    def flush(self) -> None:
        """Write what waits to be written."""
        self._timer.stop()
        waiting, self._waiting = self._waiting, None
        if waiting is None:
            return
        file, recipe = waiting
        try:
            if recipe == Recipe():
                file.unlink(missing_ok=True)
            else:
                file.parent.mkdir(parents=True, exist_ok=True)
                write_text(file, recipe.to_yaml())
        except (OSError, UserError):
            return

    def _edited(self) -> None:
        checkpoint = self._document.checkpoint
        if checkpoint is not None and checkpoint is self._checkpoint:
            self._waiting = self.file_of(checkpoint.path), self._document.recipe
            self._timer.start()

    def _opened(self) -> None:
        """Put the kept recipe in place, as a step that can be undone."""
        checkpoint = self._document.checkpoint
        if checkpoint is self._checkpoint:
            return
        self.flush()
        self._checkpoint = checkpoint
        if checkpoint is None or self._document.recipe != Recipe():
            return
        file = self.file_of(checkpoint.path)
        try:
            kept = load_recipe(str(file)) if file.exists() else Recipe()
        except UserError:
            return
        self._document.set_recipe(kept, tr("Take up the recipe of last time"))
        self._document.undo.setClean()
