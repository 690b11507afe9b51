"""Ctrl+K: type a few letters, press Enter."""

from __future__ import annotations

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import QFrame, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.command import Command, Commands
from benchvise.core.language import tr

WIDTH = 520
MAX_HEIGHT = 380
_ICON = 18
_COMMAND = int(Qt.ItemDataRole.UserRole)


def rank(words: str, title: str) -> int | None:
    """How well a title fits what was typed: lower is better, None when a word is not in it in order."""
    text, total = title.lower(), 0
    for word in words.lower().split():
        at = text.find(word)
        if at < 0:
            if not _letters_in_order(word, text):
                return None
            total += 1000
        else:
            total += at
    return total


def _letters_in_order(word: str, text: str) -> bool:
    letters = iter(text)
    return all(letter in letters for letter in word)


class CommandPalette(QFrame):
    """A list of all commands that can be carried out now, over the window."""

    def __init__(self, commands: Commands, window: QWidget) -> None:
        super().__init__(window, Qt.WindowType.Popup)
        self._commands = commands
        self.setProperty("surface", "card")
        self.setAccessibleName(tr("Commands"))
        self.line = QLineEdit(placeholderText=tr("Type a command"))
        self.list = QListWidget()
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setIconSize(QSize(_ICON, _ICON))
        self._no_icon = QPixmap(_ICON, _ICON)
        self._no_icon.fill(Qt.GlobalColor.transparent)
        self._most_height = MAX_HEIGHT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT, UNIT, UNIT, UNIT)
        layout.setSpacing(UNIT)
        layout.addWidget(self.line)
        layout.addWidget(self.list)
        self.line.textChanged.connect(self._fill)
        self.line.installEventFilter(self)
        self.line.returnPressed.connect(self._run_current)
        self.list.itemClicked.connect(lambda _: self._run_current())

    def open(self) -> None:
        """Show the palette at the top of the window."""
        window = self.parentWidget()
        assert window is not None
        self._commands.refresh()
        self._most_height = min(MAX_HEIGHT, window.height() - 18 * UNIT)
        width = min(WIDTH, window.width() - 4 * UNIT)
        self.setFixedWidth(width)
        self.line.clear()
        self._fill("")
        self.move(
            window.mapToGlobal(window.rect().topLeft()).x() + (window.width() - width) // 2, window.y() + 9 * UNIT
        )
        self.show()
        self.line.setFocus()

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if target is self.line and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            step = {Qt.Key.Key_Down: 1, Qt.Key.Key_Up: -1}.get(Qt.Key(event.key()))
            if step is not None and self.list.count():
                self.list.setCurrentRow((self.list.currentRow() + step) % self.list.count())
                return True
        return False

    def _fill(self, words: str) -> None:
        found: list[tuple[int, Command]] = []
        for command in self._commands.all():
            place = rank(words, self._commands.action(command.id).text()) if command.palette else None
            if place is not None and self._commands.action(command.id).isEnabled():
                found.append((place, command))
        self.list.clear()
        for _, command in sorted(found, key=lambda pair: pair[0]):
            key = f"    {command.shortcut}" if command.shortcut else ""
            item = QListWidgetItem(f"{self._commands.action(command.id).text()}{key}")
            item.setIcon(icon(command.icon) if command.icon else QIcon(self._no_icon))
            item.setData(_COMMAND, command.id)
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        row = max(1, self.list.sizeHintForRow(0))
        rows = min(self.list.count(), self._most_height // row)
        self.list.setVisible(rows > 0)
        self.list.setFixedHeight(rows * row + 2 * self.list.frameWidth())
        self.adjustSize()

    def _run_current(self) -> None:
        item = self.list.currentItem()
        self.close()
        if item is not None:
            self._commands.action(item.data(_COMMAND)).trigger()
