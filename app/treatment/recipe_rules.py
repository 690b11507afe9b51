"""The recipe as a whole, in the words in which it is saved."""

from __future__ import annotations

from PySide6.QtCore import QTimer
from PySide6.QtGui import QFontDatabase, QGuiApplication, QShowEvent
from PySide6.QtWidgets import QHBoxLayout, QPlainTextEdit, QToolButton, QVBoxLayout, QWidget

from benchvise.app.state.document import Document
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.language import tr
from benchvise.core.text import plural

_MAX_YAML = 20_000
_MIN_LINES = 8
SETTLE_MS = 250


class RulesView(QWidget):
    """The recipe as YAML, to read and to copy."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        lines = _MIN_LINES * self.text.fontMetrics().lineSpacing()
        self.text.setMinimumHeight(lines + 4 * UNIT)
        self.text.setAccessibleName(tr("The recipe as YAML"))
        self._said = ElidedLabel()
        self._said.setProperty("tone", "muted")
        copy = QToolButton()
        copy.setIcon(icon("mdi6.content-copy"))
        copy.setToolTip(tr("Copy the recipe as YAML"))
        copy.setAccessibleName(tr("Copy the recipe"))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(document.recipe.to_yaml()))
        top = QHBoxLayout()
        top.addWidget(self._said, 1)
        top.addWidget(copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.text)
        self._due = True
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._show)
        document.recipe_changed.connect(self._show_soon)

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._due:
            self._show()

    def _show_soon(self) -> None:
        """Words for hundreds of layers take longer than a slider that is dragged may wait."""
        self._due = True
        if self.isVisible():
            self._settle.start()

    def _show(self) -> None:
        self._due = False
        recipe = self._document.recipe
        name = f"{recipe.name}: " if recipe.name else ""
        self._said.setText(
            tr("{name}{rules}; the last that matches decides", name=name, rules=plural(len(recipe.rules), "rule"))
        )
        text = recipe.to_yaml()
        if len(text) > _MAX_YAML:
            text = tr("{text}\n… (copy for the whole recipe)", text=text[:_MAX_YAML])
        if text != self.text.toPlainText():
            self.text.setPlainText(text)
