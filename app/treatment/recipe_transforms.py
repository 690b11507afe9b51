"""The recipe's transforms: added from the registry, each with its form, carried out from top to bottom."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QSize
from PySide6.QtWidgets import QFrame, QHBoxLayout, QMenu, QPushButton, QToolButton, QVBoxLayout, QWidget

from benchvise.app.state.document import Document
from benchvise.app.state.setting_edits import edit_title, with_setting
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.labels import wrapped
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.methods.registry import TRANSFORMS
from benchvise.core.methods.transform import Transform
from benchvise.core.recipe.editing import set_transforms

_NONE = (
    "None yet. A transform rewrites the network without changing what it computes, so that it compresses with less "
    "damage."
)


class TransformCard(QFrame):
    """One transform: title, summary, form, and buttons to move and remove it."""

    def __init__(self, transform: Transform, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        title = wrapped()
        title.setText(transform.title)
        title.setFont(scaled(self.font(), 1.0, bold=True))
        title.setToolTip(f"Source: {transform.source}")
        self.up = _button("mdi6.arrow-up", f"Carry out {transform.title} earlier")
        self.down = _button("mdi6.arrow-down", f"Carry out {transform.title} later")
        self.remove = _button("mdi6.close", f"Remove {transform.title}")
        summary = wrapped("muted")
        summary.setText(transform.summary)
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
        self.show_transform(transform)

    def show_transform(self, transform: Transform) -> None:
        self.form.show_instances((transform,))
        self.form.setVisible(bool(self.form.shown_fields))


class TransformsView(QWidget):
    """The list; every change is one undo step."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.cards: list[TransformCard] = []
        self._keys: tuple[str, ...] = ()
        self._none = wrapped("muted")
        self._none.setText(_NONE)
        self._column = QVBoxLayout()
        self._column.setContentsMargins(0, 0, 0, 0)
        self._column.setSpacing(4)
        self.add_button = QPushButton("Add a transform")
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
        """Show the recipe's transforms as they are; forms stay while their transforms do, and so does the focus."""
        transforms = self._document.recipe.transforms
        keys = tuple(transform.key for transform in transforms)
        if keys != self._keys:
            self._keys = keys
            self._build(transforms)
        for card, transform in zip(self.cards, transforms, strict=True):
            card.show_transform(transform)
        self._none.setVisible(not transforms)
        self.add_button.setEnabled(self._document.checkpoint is not None and set(keys) != set(TRANSFORMS))

    def add(self, key: str) -> None:
        kind = TRANSFORMS[key]
        self._put((*self._document.recipe.transforms, kind()), f"Add {kind.title}")

    def carry_out_at(self, place: int, to: int) -> None:
        transforms = list(self._document.recipe.transforms)
        moved = transforms.pop(place)
        transforms.insert(to, moved)
        self._put(transforms, f"Carry out {moved.title} {'earlier' if to < place else 'later'}")

    def remove(self, place: int) -> None:
        transforms = list(self._document.recipe.transforms)
        removed = transforms.pop(place)
        self._put(transforms, f"Remove {removed.title}")

    def _build(self, transforms: Sequence[Transform]) -> None:
        for card in self.cards:
            self._column.removeWidget(card)
            card.hide()
            card.deleteLater()
        self.cards = [TransformCard(transform) for transform in transforms]
        for place, card in enumerate(self.cards):
            self._column.addWidget(card)
            card.up.setEnabled(place > 0)
            card.down.setEnabled(place < len(self.cards) - 1)
            card.up.clicked.connect(partial(self.carry_out_at, place, place - 1))
            card.down.clicked.connect(partial(self.carry_out_at, place, place + 1))
            card.remove.clicked.connect(partial(self.remove, place))
            card.form.edited.connect(partial(self._edit, place))

    def _edit(self, place: int, name: str, value: object) -> None:
        transforms = list(self._document.recipe.transforms)
        kind = type(transforms[place])
        transforms[place] = with_setting(transforms[place], name, value)
        title = f"{kind.title}: {edit_title(kind, name, value)}"
        self._put(transforms, title, f"transform {place} {name}")

    def _put(self, transforms: Sequence[Transform], title: str, merge_key: str = "") -> None:
        self._document.set_recipe(set_transforms(self._document.recipe, transforms), title, merge_key=merge_key)

    def _fill_menu(self) -> None:
        self.menu.clear()
        for key, kind in TRANSFORMS.items():
            action = self.menu.addAction(kind.title, partial(self.add, key))
            there = key in self._keys
            action.setEnabled(not there)
            action.setToolTip("It is in the recipe already." if there else kind.summary)


def _button(name: str, help_text: str) -> QToolButton:
    button = QToolButton()
    button.setIcon(icon(name))
    button.setToolTip(help_text)
    button.setAccessibleName(help_text)
    button.setIconSize(QSize(16, 16))
    return button
