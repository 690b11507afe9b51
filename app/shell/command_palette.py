"""Ctrl+K: type a few letters, press Enter."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QColor, QIcon, QKeyEvent, QPixmap
from PySide6.QtWidgets import QFrame, QLabel, QLineEdit, QListWidget, QListWidgetItem, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme
from benchvise.app.widgets.command import Commands
from benchvise.core.language import tr

WIDTH = 520
MAX_HEIGHT = 380
_ICON = 18
MAX_SHOWN = 200
_PRESET = "mdi6.tune-variant"
COMMANDS, LAYERS, RUNS, HELP = ">", "@", "#", "?"
"""Signs before what is typed, for one kind of finds alone."""


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


@dataclass(frozen=True)
class Found:
    """Something to find. kind: the sign that lists its kind alone; needs: why it cannot be done now, "" when it can."""

    title: str
    run: Callable[[], object]
    icon: str = ""
    kind: str = COMMANDS
    detail: str = ""
    needs: str = ""
    keys: str = ""


class CommandPalette(QFrame):
    """A list over the window: commands, and what else `others` names. A sign at first (> @ # ?) lists "
    "one kind alone."""

    def __init__(self, commands: Commands, window: QWidget, others: Callable[[], Iterable[Found]] = tuple) -> None:
        super().__init__(window, Qt.WindowType.Popup)
        self._commands = commands
        self._others = others
        self._known: tuple[Found, ...] = ()
        self._shown: list[Found] = []
        self.setProperty("surface", "card")
        self.setAccessibleName(tr("Commands"))
        self.line = QLineEdit(placeholderText=tr("Type a command, or > commands  @ layers  # runs  ? settings"))
        self.list = QListWidget()
        self.list.setUniformItemSizes(True)
        self.list.setFocusPolicy(Qt.FocusPolicy.NoFocus)
        self.list.setIconSize(QSize(_ICON, _ICON))
        self.said = QLabel(wordWrap=True)
        self.said.setProperty("tone", "muted")
        self._no_icon = QPixmap(_ICON, _ICON)
        self._no_icon.fill(Qt.GlobalColor.transparent)
        self._most_height = MAX_HEIGHT
        layout = QVBoxLayout(self)
        layout.setContentsMargins(UNIT, UNIT, UNIT, UNIT)
        layout.setSpacing(UNIT)
        layout.addWidget(self.line)
        layout.addWidget(self.list)
        layout.addWidget(self.said)
        self.line.textChanged.connect(self._fill)
        self.line.installEventFilter(self)
        self.line.returnPressed.connect(self._run_current)
        self.list.currentRowChanged.connect(self._explain)
        self.list.itemClicked.connect(lambda _: self._run_current())

    def open(self) -> None:
        """Show the palette at the top of the window."""
        window = self.parentWidget()
        assert window is not None
        self._commands.refresh()
        self._known = (*self._of_commands(), *self._others())
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

    def _of_commands(self) -> Iterator[Found]:
        for command in self._commands.all():
            action = self._commands.action(command.id)
            if command.palette:
                needs = "" if action.isEnabled() else command.needs or tr("Not now")
                yield Found(
                    action.text(), action.trigger, command.icon, needs=needs, keys=self._commands.keys(command.id)
                )

    def _fill(self, typed: str) -> None:
        kind = typed[:1] if typed[:1] in (COMMANDS, LAYERS, RUNS, HELP) else ""
        words = typed[len(kind) :].strip()
        self._shown = self._fitting(kind, words)
        self.list.clear()
        muted = QColor(current_theme().faint)
        for found in self._shown:
            keys = f"    {found.keys}" if found.keys else ""
            item = QListWidgetItem(f"{found.title}{keys}")
            item.setIcon(icon(found.icon) if found.icon else QIcon(self._no_icon))
            if found.needs:
                item.setForeground(muted)
            self.list.addItem(item)
        self.list.setCurrentRow(0)
        row = max(1, self.list.sizeHintForRow(0))
        rows = min(self.list.count(), self._most_height // row)
        self.list.setVisible(rows > 0)
        self.list.setFixedHeight(rows * row + 2 * self.list.frameWidth())
        self._explain()
        self.adjustSize()

    def _fitting(self, kind: str, words: str) -> list[Found]:
        """The best first: by how well a title fits, then what can be done before what cannot."""
        ranked: list[tuple[int, int, Found]] = []
        for found in self._known:
            if (kind and found.kind != kind) or (not kind and not words and (found.kind != COMMANDS or found.needs)):
                continue
            place = rank(words, found.title)
            if place is not None and (words or kind or found.icon != _PRESET):
                ranked.append((place, bool(found.needs), found))
        return [found for _, _, found in sorted(ranked, key=lambda each: each[:2])[:MAX_SHOWN]]

    def _explain(self, _: int = 0) -> None:
        """Under the list: why the present entry cannot be done, what it is, or that there is none."""
        row = self.list.currentRow()
        if row < 0 or row >= len(self._shown):
            said = tr("Nothing matches “{words}”.", words=self.line.text().strip())
        else:
            said = self._shown[row].needs or self._shown[row].detail
        self.said.setText(said)
        self.said.setVisible(bool(said))
        self.adjustSize()

    def _run_current(self) -> None:
        row = self.list.currentRow()
        if not 0 <= row < len(self._shown) or self._shown[row].needs:
            return
        self.close()
        self._shown[row].run()
