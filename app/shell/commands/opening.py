"""Opening checkpoints and recipes, and keeping recipes."""

from __future__ import annotations

import os
from functools import partial
from importlib.resources import files
from pathlib import Path

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFileDialog, QMenu, QWidget

from benchvise.app.shell.preset_gallery import PresetGallery
from benchvise.app.state.kept_recipes import KeptRecipes
from benchvise.app.state.session import Session
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.command import OPEN_FIRST, RECIPE_FIRST, Command
from benchvise.app.widgets.preset_menu import fill_preset_menu
from benchvise.core.errors import OutputError, UserError
from benchvise.core.language import message, tr
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, load_recipe

CHECKPOINT_FILES = message("Checkpoints (*.safetensors *.bin *.pt *.pth);;All files (*)")
RECIPE_FILES = message("Recipes (*.yaml *.yml);;All files (*)")


def sample_path() -> str:
    """The folder of the sample model that comes with the program."""
    return os.path.normpath(str(files("benchvise.resources") / "sample"))


class FileCommands:
    """What File and Recipe do."""

    def __init__(self, session: Session, window: QWidget) -> None:
        self._session = session
        self._window = window
        self.kept = KeptRecipes(session.document, session.preferences.recipes, window)

    def commands(self) -> tuple[Command, ...]:
        document = self._session.document

        def is_open() -> bool:
            return document.checkpoint is not None

        def has_recipe() -> bool:
            return document.recipe != Recipe()

        return (
            Command(
                "open-folder", tr("Open"), self.choose_folder, "Ctrl+O", "mdi6.folder-open-outline", tr("Open a folder")
            ),
            Command("open-file", tr("Open file …"), self.choose_file, "Ctrl+Shift+O", "mdi6.file-outline"),
            Command("open-sample", tr("Open the sample model"), self.open_sample, icon="mdi6.school-outline"),
            Command(
                "load-recipe",
                tr("Load recipe …"),
                self.choose_recipe,
                "Ctrl+L",
                "mdi6.file-import-outline",
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command(
                "save-recipe",
                tr("Save recipe …"),
                self.save_recipe,
                "Ctrl+S",
                "mdi6.content-save-outline",
                enabled=has_recipe,
                needs=tr(RECIPE_FIRST),
            ),
            Command(
                "presets",
                tr("All presets …"),
                self.show_presets,
                "Ctrl+Shift+P",
                "mdi6.tune-variant",
                tr("Presets as cards, with what each takes on this model"),
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command(
                "clear-recipe",
                tr("Clear the recipe"),
                self.clear_recipe,
                icon="mdi6.broom",
                enabled=has_recipe,
                needs=tr(RECIPE_FIRST),
            ),
            Command("workspace", tr("Where results are kept …"), self.choose_workspace, icon="mdi6.folder-cog-outline"),
            Command(
                "close-checkpoint",
                tr("Close the checkpoint"),
                self.close_checkpoint,
                "Ctrl+W",
                "mdi6.close-box-outline",
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
        )

    def choose_folder(self) -> None:
        path = self.ask_folder()
        if path:
            self.open(path)

    def choose_file(self) -> None:
        path = self.ask_file()
        if path:
            self.open(path)

    def ask_folder(self) -> str:
        """The folder that a person chooses, "" for none."""
        return QFileDialog.getExistingDirectory(self._window, tr("Open a checkpoint folder"), self._start_folder())

    def ask_file(self) -> str:
        """The file that a person chooses, "" for none."""
        return QFileDialog.getOpenFileName(
            self._window, tr("Open a checkpoint"), self._start_folder(), tr(CHECKPOINT_FILES)
        )[0]

    def open_sample(self) -> None:
        self.open(sample_path())

    def open(self, path: str) -> None:
        """Open a checkpoint, or load a recipe. Nothing is lost: the recipe of each model is kept."""
        if Path(path).suffix in (".yaml", ".yml"):
            self.load_recipe(path)
        else:
            whole = os.path.abspath(path)  # noqa: PTH100 - pathlib's keeps ".."
            self._session.preferences.last_folder = str(Path(whole).parent)
            self._session.document.open(whole)

    def close_checkpoint(self) -> None:
        self._session.document.close_checkpoint()

    def choose_recipe(self) -> None:
        path, _ = QFileDialog.getOpenFileName(self._window, tr("Load a recipe"), self._start_folder(), tr(RECIPE_FILES))
        if path:
            self.load_recipe(path)

    def load_recipe(self, path: str) -> None:
        try:
            recipe = load_recipe(path)
        except UserError as error:
            self._session.problems.report_error(error, tr("Load recipe"))
            return
        self._use(recipe, tr("Load {name}", name=Path(path).name))
        self._session.document.undo.setClean()

    def save_recipe(self) -> bool:
        """Ask for a file and write the recipe; True when it was written."""
        recipe = self._session.document.recipe
        start = str(Path(self._start_folder()) / f"{recipe.name or 'recipe'}.yaml")
        path, _ = QFileDialog.getSaveFileName(self._window, tr("Save the recipe"), start, tr(RECIPE_FILES))
        if not path:
            return False
        try:
            Path(path).write_text(recipe.to_yaml(), encoding="utf-8")
        except OSError as error:
            failed = OutputError(
                tr("The recipe cannot be written: {strerror}", strerror=error.strerror),
                where=path,
                remedy=tr("Choose another folder."),
            )
            self._session.problems.report_error(failed, tr("Save recipe"))
            return False
        self._session.document.undo.setClean()
        return True

    def clear_recipe(self) -> None:
        self._session.document.set_recipe(Recipe(), tr("Clear the recipe"))

    def use_preset(self, name: str) -> None:
        self._use(load_preset(name), tr("Preset {name}", name=name))

    def fill_presets(self, menu: QMenu) -> None:
        checkpoint = self._session.document.checkpoint
        layers = checkpoint.layers if checkpoint is not None else ()
        menu.addAction(icon("mdi6.view-grid-outline"), tr("All presets …"), self.show_presets).setEnabled(
            checkpoint is not None
        )
        menu.addSeparator()
        fill_preset_menu(menu, self.use_preset, layers=layers, enabled=checkpoint is not None)

    def fill_recent(self, menu: QMenu) -> None:
        recent = self._session.preferences.recent
        for path in recent:
            menu.addAction(path, partial(self.open, path))
        if not recent:
            menu.addAction(tr("Nothing was opened yet")).setEnabled(False)
            return
        menu.addSeparator()
        menu.addAction(tr("Forget these"), self._session.preferences.clear_recent)

    def show_presets(self) -> None:
        """The presets as cards."""
        gallery = PresetGallery(self._session.document, self.use_preset, self._window)
        gallery.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        gallery.open()

    def fill_open(self, menu: QMenu) -> None:
        menu.addAction(tr("Open folder …"), self.choose_folder)
        menu.addAction(tr("Open file …"), self.choose_file)
        menu.addAction(tr("Open the sample model"), self.open_sample)
        menu.addSeparator()
        self.fill_recent(menu)

    def choose_workspace(self) -> None:
        """Ask for the folder that keeps runs and measurements."""
        from benchvise.core.workspace.workspace import Workspace

        present = str(Workspace(self._session.document.workspace).path)
        path = QFileDialog.getExistingDirectory(self._window, tr("Folder for runs and measurements"), present)
        if path:
            self._session.preferences.workspace = path
            self._session.document.set_workspace(path)

    def _use(self, recipe: Recipe, title: str) -> None:
        self._session.document.set_recipe(recipe, title)

    def _start_folder(self) -> str:
        return self._session.preferences.last_folder or str(Path.home())
