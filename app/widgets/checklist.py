"""A button that opens a list of things to check, and a line to add what the list lacks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import (
    QLabel,
    QLineEdit,
    QListWidget,
    QListWidgetItem,
    QMenu,
    QPushButton,
    QVBoxLayout,
    QWidget,
    QWidgetAction,
)

_WIDEST, _MAX_ROWS = 360, 12


@dataclass(frozen=True)
class Entry:
    """text is what identifies it; tip is told on hover."""

    text: str
    checked: bool
    tip: str = ""


class CheckList(QPushButton):
    """changed: the person checked or unchecked something; added: text was entered in the line below the list."""

    changed = Signal()
    added = Signal(str)

    def __init__(self, title: str, tip: str, *, add_hint: str = "", parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._title = title
        self.setToolTip(tip)
        self.setAccessibleName(title)
        self.list = QListWidget()
        self.list.setAccessibleName(title)
        self.list.setUniformItemSizes(True)
        self.list.itemChanged.connect(self._item_changed)
        self.line = QLineEdit(placeholderText=add_hint, clearButtonEnabled=True)
        self.line.setAccessibleName(add_hint)
        self.line.setVisible(bool(add_hint))
        self.line.returnPressed.connect(self._add)
        self._said = QLabel(wordWrap=True)
        self._said.setProperty("tone", "error")
        self._said.hide()
        inner = QWidget()
        column = QVBoxLayout(inner)
        column.setContentsMargins(4, 4, 4, 4)
        column.addWidget(self.list)
        column.addWidget(self.line)
        column.addWidget(self._said)
        menu = QMenu(self)
        action = QWidgetAction(menu)
        action.setDefaultWidget(inner)
        menu.addAction(action)
        menu.aboutToShow.connect(self._opened)
        self.setMenu(menu)
        self.show_entries(())

    def show_entries(self, entries: Sequence[Entry]) -> None:
        """Show other entries, without telling of a change."""
        with QSignalBlocker(self.list):
            self.list.clear()
            for entry in entries:
                item = QListWidgetItem(entry.text)
                item.setFlags(
                    Qt.ItemFlag.ItemIsEnabled | Qt.ItemFlag.ItemIsSelectable | Qt.ItemFlag.ItemIsUserCheckable
                )
                item.setCheckState(Qt.CheckState.Checked if entry.checked else Qt.CheckState.Unchecked)
                item.setToolTip(entry.tip or entry.text)
                self.list.addItem(item)
        rows = min(_MAX_ROWS, max(1, self.list.count()))
        self.list.setFixedHeight(rows * max(20, self.list.sizeHintForRow(0)) + 2 * self.list.frameWidth() + 2)
        self.list.setMinimumWidth(min(_WIDEST, self.list.sizeHintForColumn(0) + 48))
        self._count()

    def texts(self) -> tuple[str, ...]:
        """Of all entries."""
        return tuple(self.list.item(row).text() for row in range(self.list.count()))

    def checked(self) -> tuple[str, ...]:
        """Texts of what is checked, in order."""
        items = (self.list.item(row) for row in range(self.list.count()))
        return tuple(item.text() for item in items if item.checkState() == Qt.CheckState.Checked)

    def check(self, text: str, *, on: bool) -> None:
        """As if the person had done it."""
        for item in self.list.findItems(text, Qt.MatchFlag.MatchExactly):
            item.setCheckState(Qt.CheckState.Checked if on else Qt.CheckState.Unchecked)

    def refuse(self, why: str) -> None:
        """Say below the line why what was entered cannot be added; "" for nothing."""
        self._said.setText(why)
        self._said.setVisible(bool(why))

    def _add(self) -> None:
        text = self.line.text().strip()
        if text:
            self.refuse("")
            self.added.emit(text)

    def _opened(self) -> None:
        self.refuse("")
        self.list.setFocus(Qt.FocusReason.PopupFocusReason)

    def _item_changed(self) -> None:
        self._count()
        self.changed.emit()

    def _count(self) -> None:
        self.setText(f"{self._title} ({len(self.checked())})")
