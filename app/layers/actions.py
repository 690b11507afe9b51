"""What can be done with the selected layers: from the tree's menu, and from anywhere by commands."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QMenu, QWidget

from benchvise.app.state.document import Document
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.command import Command
from benchvise.app.widgets.preset_menu import fill_preset_menu
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import tr
from benchvise.core.recipe.editing import set_transforms, set_tuning, treat
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import KEEP
from benchvise.core.text import plural


class LayerActions:
    """Edits of the document, each one undo step."""

    def __init__(self, document: Document) -> None:
        self._document = document

    @property
    def _layers(self) -> tuple[Layer, ...]:
        checkpoint = self._document.checkpoint
        return checkpoint.layers if checkpoint is not None else ()

    def commands(self) -> tuple[Command, ...]:
        """What can be done with the selection from anywhere."""

        def chosen() -> bool:
            return bool(self._document.selection)

        return (
            Command(
                "keep-selected",
                tr("Keep the selected layers"),
                self.keep,
                "Ctrl+Shift+K",
                "mdi6.shield-outline",
                enabled=chosen,
                needs=tr("Select layers in the tree first"),
            ),
            Command(
                "lock-selected",
                tr("Exclude the selected layers from budgets"),
                self.toggle_lock,
                "Ctrl+Shift+B",
                "mdi6.lock-outline",
                tr("Leave their treatments to no budget"),
                enabled=chosen,
                needs=tr("Select layers in the tree first"),
                text=self.lock_text,
            ),
        )

    def context_menu(self, parent: QWidget) -> QMenu:
        """What can be done with the selected layers."""
        menu = QMenu(parent)
        document = self._document
        layer, count = document.current, len(document.selection)
        if layer is None:
            menu.addAction(tr("Nothing is selected")).setEnabled(False)
            return menu
        similar = menu.addMenu(icon("mdi6.select-group"), tr("Select similar"))
        self._add_similar(similar, tr("Same role ({role})", role=layer.role), lambda other: other.role == layer.role)
        if layer.depth is not None:
            self._add_similar(
                similar, tr("Same depth (block {depth})", depth=layer.depth), lambda other: other.depth == layer.depth
            )
        shape = " × ".join(map(str, layer.shape)) or "scalar"
        self._add_similar(similar, tr("Same shape ({shape})", shape=shape), lambda other: other.shape == layer.shape)
        menu.addAction(icon("mdi6.content-copy"), tr("Copy name") if count == 1 else tr("Copy names"), self.copy_names)
        menu.addSeparator()
        menu.addAction(icon("mdi6.shield-outline"), tr("Keep {layers} as is", layers=plural(count, "layer")), self.keep)
        menu.addAction(icon("mdi6.lock-outline"), self.lock_text(), self.toggle_lock)
        presets = menu.addMenu(icon("mdi6.tune-variant"), tr("Apply preset to {layers}", layers=plural(count, "layer")))
        fill_preset_menu(presets, self.apply_preset, layers=self._layers)
        return menu

    def _add_similar(self, menu: QMenu, title: str, test: Callable[[Layer], bool]) -> None:
        layers = self._layers
        menu.addAction(title, lambda: self._document.select(i for i, layer in enumerate(layers) if test(layer)))

    def copy_names(self) -> None:
        names = [layer.name for layer in self._document.selected_layers()]
        QGuiApplication.clipboard().setText("\n".join(names))

    def keep(self) -> None:
        chosen = self._document.selection
        self._document.treat(chosen, [KEEP] * len(chosen), tr("Keep {layers}", layers=plural(len(chosen), "layer")))

    def lock_text(self) -> str:
        count = plural(len(self._document.selection), "layer")
        return (
            tr("Include {count} in budgets", count=count)
            if self._all_locked()
            else tr("Exclude {count} from budgets", count=count)
        )

    def toggle_lock(self) -> None:
        names = [layer.name for layer in self._document.selected_layers()]
        self._document.lock(names, locked=not self._all_locked())

    def _all_locked(self) -> bool:
        chosen = self._document.selected_layers()
        return bool(chosen) and all(layer.name in self._document.locked for layer in chosen)

    def apply_preset(self, name: str) -> None:
        """The preset's first treatment, on the selected layers whatever they are, and its transforms where it has any.

        Transforms and tuning concern the whole network; they join what the recipe has already.
        """
        document, preset, layers = self._document, load_preset(name), self._layers
        chosen = [layers[i] for i in document.selection if layers[i].compressible]
        if not preset.rules or not chosen:
            return
        recipe = treat(document.recipe, chosen, [preset.rules[0].treatment] * len(chosen))
        present = {transform.key for transform in recipe.transforms}
        missing = [transform for transform in preset.transforms if transform.key not in present]
        if missing:
            recipe = set_transforms(recipe, (*recipe.transforms, *missing))
        tuned = {step.key for step in recipe.tuning}
        steps = [step for step in preset.tuning if step.key not in tuned]
        if steps:
            recipe = set_tuning(recipe, (*recipe.tuning, *steps))
        document.set_recipe(recipe, tr("Apply {name} to {layers}", name=name, layers=plural(len(chosen), "layer")))
