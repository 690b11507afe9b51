"""The keys of every command, to be changed."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QKeySequence
from PySide6.QtWidgets import (
    QHBoxLayout,
    QHeaderView,
    QKeySequenceEdit,
    QLabel,
    QLineEdit,
    QPushButton,
    QTableWidget,
    QTableWidgetItem,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.state.preferences import Preferences
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.command import Commands
from benchvise.core.language import tr

_ID = int(Qt.ItemDataRole.UserRole)


class ShortcutEditor(QWidget):
    """Choose a command, press its new keys. Keys that another command had are taken from it, which is said."""

    def __init__(self, commands: Commands, preferences: Preferences) -> None:
        super().__init__()
        self._commands = commands
        self._preferences = preferences
        self.filter_line = QLineEdit(placeholderText=tr("Filter commands"), clearButtonEnabled=True)
        self.filter_line.textChanged.connect(self._filter)
        self.table = QTableWidget(0, 2)
        self.table.setHorizontalHeaderLabels([tr("Command"), tr("Keys")])
        self.table.setAccessibleName(tr("Shortcuts"))
        self.table.verticalHeader().hide()
        self.table.horizontalHeader().setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
        self.table.setSelectionBehavior(QTableWidget.SelectionBehavior.SelectRows)
        self.table.setEditTriggers(QTableWidget.EditTrigger.NoEditTriggers)
        self.table.currentCellChanged.connect(lambda *_: self._show_keys())
        self.keys = QKeySequenceEdit()
        self.keys.setMaximumSequenceLength(1)
        self.keys.setClearButtonEnabled(True)
        self.keys.setAccessibleName(tr("New keys"))
        self.keys.editingFinished.connect(self._typed)
        self.reset = QPushButton(tr("Restore"))
        self.reset.setToolTip(tr("Give the command its own keys back"))
        self.reset.clicked.connect(lambda _=False: self._give(None))
        self.said = QLabel(wordWrap=True)
        self.said.setProperty("tone", "muted")
        row = QHBoxLayout()
        row.addWidget(QLabel(tr("New keys")))
        row.addWidget(self.keys, 1)
        row.addWidget(self.reset)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT, UNIT, UNIT, UNIT)
        layout.addWidget(self.filter_line)
        layout.addWidget(self.table, 1)
        layout.addLayout(row)
        layout.addWidget(self.said)
        self._fill()

    def choose(self, command: str) -> None:
        """Select the row of a command."""
        for row in range(self.table.rowCount()):
            if self._id(row) == command:
                self.table.setCurrentCell(row, 0)

    def _fill(self) -> None:
        listed = self._commands.all()
        self.table.setRowCount(len(listed))
        for row, command in enumerate(listed):
            title = QTableWidgetItem(command.title.rstrip(" …"))
            title.setData(_ID, command.id)
            self.table.setItem(row, 0, title)
            self.table.setItem(row, 1, QTableWidgetItem(self._commands.keys(command.id)))
        self._show_keys()

    def _id(self, row: int) -> str:
        item = self.table.item(row, 0)
        return "" if item is None else str(item.data(_ID))

    def _filter(self, words: str) -> None:
        for row in range(self.table.rowCount()):
            text = " ".join(item.text() for column in (0, 1) if (item := self.table.item(row, column)) is not None)
            self.table.setRowHidden(row, words.lower() not in text.lower())

    def _show_keys(self) -> None:
        command = self._id(self.table.currentRow())
        self.keys.setEnabled(bool(command))
        self.reset.setEnabled(bool(command))
        self.keys.setKeySequence(QKeySequence(self._commands.keys(command) if command else ""))

    def _typed(self) -> None:
        if self._id(self.table.currentRow()):
            self._give(self.keys.keySequence().toString())

    def _give(self, keys: str | None) -> None:
        command = self._id(self.table.currentRow())
        wanted = self._commands[command].shortcut if keys is None else keys
        if wanted == self._commands.keys(command):
            return
        other = self._commands.with_keys(wanted) if wanted else ""
        if other:
            self._put(other, "")
        self._put(command, keys)
        taken = (
            tr("{keys} now does this; it did: {title}", keys=wanted, title=self._commands[other].title) if other else ""
        )
        self.said.setText(taken)
        self._fill()
        self.choose(command)

    def _put(self, command: str, keys: str | None) -> None:
        self._preferences.set_shortcut(command, keys)
        self._commands.set_keys(command, self._commands[command].shortcut if keys is None else keys)
