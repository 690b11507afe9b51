"""A stage of the recipe: methods added from a registry, each with its form, carried out from top to bottom."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from benchvise.app.state.document import Document
from benchvise.app.state.setting_edits import edit_title, with_setting
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.labels import wrapped
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.language import message, tr
from benchvise.core.methods.registry import SURGERIES, TRANSFORMS, TUNINGS
from benchvise.core.recipe.editing import set_surgery, set_transforms, set_tuning
from benchvise.core.recipe.recipe import Recipe


class StageMethod(Protocol):
    """What surgeries, transforms and tuning steps have in common."""

    key: str
    title: str
    summary: str
    source: str


@dataclass(frozen=True)
class Stage:
    """One stage of a recipe as the window shows it.

    noun: what one of its methods is called. field: of `Recipe`. none: what is said while it is empty.
    """

    title: str
    noun: str
    field: str
    none: str
    methods: Mapping[str, type[Any]]
    put: Callable[[Recipe, Sequence[Any]], Recipe]

    def of(self, recipe: Recipe) -> tuple[Any, ...]:
        found: tuple[Any, ...] = getattr(recipe, self.field)
        return found


SURGERY = Stage(
    message("Surgery"),
    "surgery",
    "surgery",
    message("None yet. A surgery takes parts out of the network before all else; what is left is a smaller network."),
    SURGERIES,
    set_surgery,
)
TRANSFORM = Stage(
    message("Transforms"),
    "transform",
    "transforms",
    message(
        "None yet. A transform rewrites the network without changing what it computes, so that compressing "
        "it raises the "
        "KL less."
    ),
    TRANSFORMS,
    set_transforms,
)
TUNING = Stage(
    message("Tuning"),
    message("tuning step"),
    "tuning",
    message("None yet. A tuning step trains the compressed network on what the original gives."),
    TUNINGS,
    set_tuning,
)


class MethodCard(QFrame):
    """One method: title, summary, form, and buttons to move and remove it."""

    def __init__(self, method: StageMethod, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = wrapped()
        title.setText(tr(method.title))
        title.setFont(scaled(self.font(), 1.0, bold=True))
        title.setToolTip(tr("Source: {source}", source=method.source))
        self.up = _button("mdi6.arrow-up", tr("Carry out {title} earlier", title=tr(method.title)))
        self.down = _button("mdi6.arrow-down", tr("Carry out {title} later", title=tr(method.title)))
        self.remove = _button("mdi6.close", tr("Remove {title}", title=tr(method.title)))
        summary = wrapped("muted")
        summary.setText(tr(method.summary))
        self.form = SettingsForm()
        top = QHBoxLayout()
        top.setSpacing(0)
        top.addWidget(title, 1)
        for button in (self.up, self.down, self.remove):
            top.addWidget(button)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, UNIT)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(summary)
        layout.addWidget(self.form)
        self.show_method(method)

    def show_method(self, method: StageMethod) -> None:
        self.form.show_instances((method,))
        self.form.setVisible(bool(self.form.shown_fields))


class StageView(QWidget):
    """The methods of one stage; every change is one undo step."""

    def __init__(self, document: Document, stage: Stage, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._stage = stage
        self.cards: list[MethodCard] = []
        self._keys: tuple[str, ...] = ()
        self._none = wrapped("muted")
        self._none.setText(tr(stage.none))
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.add_button = QPushButton(tr("Add a {noun}", noun=tr(stage.noun)))
        self.add_button.setIcon(icon("mdi6.plus"))
        self.menu = QMenu(self.add_button)
        self.menu.setToolTipsVisible(True)
        self.menu.aboutToShow.connect(self._fill_menu)
        self.add_button.setMenu(self.menu)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, UNIT)
        layout.setSpacing(UNIT)
        layout.addWidget(self._none)
        layout.addLayout(self._column)
        layout.addWidget(self.add_button)
        document.recipe_changed.connect(self.refresh)
        document.checkpoint_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the stage as the recipe has it; forms stay while their methods do, and so does the focus."""
        methods = self._methods
        keys = tuple(method.key for method in methods)
        if keys != self._keys:
            self._keys = keys
            self._build(methods)
        for card, method in zip(self.cards, methods, strict=True):
            card.show_method(method)
        self._none.setVisible(not methods)
        self.add_button.setEnabled(self._document.checkpoint is not None and set(keys) != set(self._stage.methods))

    @property
    def _methods(self) -> tuple[Any, ...]:
        return self._stage.of(self._document.recipe)

    def add(self, key: str) -> None:
        kind = self._stage.methods[key]
        self._put((*self._methods, kind()), tr("Add {title}", title=tr(kind.title)))

    def carry_out_at(self, place: int, to: int) -> None:
        methods = list(self._methods)
        moved = methods.pop(place)
        methods.insert(to, moved)
        self._put(
            methods, tr("Carry out {title} {x}", title=tr(moved.title), x=tr("earlier") if to < place else tr("later"))
        )

    def remove(self, place: int) -> None:
        methods = list(self._methods)
        removed = methods.pop(place)
        self._put(methods, tr("Remove {title}", title=tr(removed.title)))

    def _build(self, methods: Sequence[StageMethod]) -> None:
        for card in self.cards:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.cards = [MethodCard(method) for method in methods]
        for place, card in enumerate(self.cards):
            self._column.addWidget(card)
            card.up.setEnabled(place > 0)
            card.down.setEnabled(place < len(self.cards) - 1)
            card.up.clicked.connect(partial(self.carry_out_at, place, place - 1))
            card.down.clicked.connect(partial(self.carry_out_at, place, place + 1))
            card.remove.clicked.connect(partial(self.remove, place))
            card.form.edited.connect(partial(self._edit, place))

    def _edit(self, place: int, name: str, value: object) -> None:
        methods = list(self._methods)
        kind = type(methods[place])
        methods[place] = with_setting(methods[place], name, value)
        title = f"{tr(kind.title)}: {edit_title(kind, name, value)}"
        self._put(methods, title, f"{self._stage.noun} {place} {name}")

    def _put(self, methods: Sequence[Any], title: str, merge_key: str = "") -> None:
        self._document.set_recipe(self._stage.put(self._document.recipe, methods), title, merge_key=merge_key)

    def _fill_menu(self) -> None:
        self.menu.clear()
        for key, kind in self._stage.methods.items():
            action = self.menu.addAction(tr(kind.title), partial(self.add, key))
            there = key in self._keys
            action.setEnabled(not there)
            action.setToolTip(tr("It is in the recipe already.") if there else tr(kind.summary))


def _button(name: str, help_text: str) -> QToolButton:
    button = QToolButton()
    button.setIcon(icon(name))
    button.setToolTip(help_text)
    button.setAccessibleName(help_text)
    button.setIconSize(QSize(16, 16))
    return button
