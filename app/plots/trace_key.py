"""Which colour is what: names beside the axis, never over the data; a click hides or shows a trace."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt, Signal
from PySide6.QtGui import QColor, QPixmap
from PySide6.QtWidgets import QHBoxLayout, QToolButton, QWidget

from benchvise.core.language import tr

_SWATCH, _EDGE = 10, 8


@dataclass(frozen=True)
class KeyEntry:
    """One trace: what it is called here, its colour as "#rrggbb", and its whole name."""

    label: str
    colour: str
    whole_name: str


class TraceKey(QWidget):
    """hidden_changed: a person hid or showed traces; `hidden` says which, by their place."""

    hidden_changed = Signal()

    def __init__(self, canvas: QWidget) -> None:
        super().__init__(canvas)
        self._canvas = canvas
        self._row = QHBoxLayout(self)
        self._row.setContentsMargins(0, 0, 0, 0)
        self._row.setSpacing(0)
        self._buttons: list[QToolButton] = []
        self._entries: tuple[KeyEntry, ...] = ()
        self.hide()

    @property
    def hidden(self) -> frozenset[int]:
        """Places of the traces that are not to be drawn."""
        return frozenset(place for place, button in enumerate(self._buttons) if not button.isChecked())

    @property
    def labels(self) -> tuple[str, ...]:
        return tuple(entry.label for entry in self._entries)

    def show_entries(self, entries: Sequence[KeyEntry]) -> None:
        """One button for each; what was hidden stays so while the names are the same."""
        entries = tuple(entries)
        if self.labels != tuple(entry.label for entry in entries):
            self._make(len(entries))
        self._entries = entries
        for button, entry in zip(self._buttons, entries, strict=True):
            button.setText(entry.label)
            button.setToolTip(tr("{whole_name}\nClick to hide or show it", whole_name=entry.whole_name))
            swatch = QPixmap(QSize(_SWATCH, _SWATCH))
            swatch.fill(QColor(entry.colour))
            button.setIcon(swatch)
        self.setVisible(len(entries) > 1)
        self.place()

    def place(self) -> None:
        """Keep to the bottom right, in the line of the axis's label."""
        self.adjustSize()
        self.move(max(0, self._canvas.width() - self.width() - _EDGE), self._canvas.height() - self.height() - 2)

    def _make(self, count: int) -> None:
        for button in self._buttons:
            self._row.removeWidget(button)
            button.deleteLater()
        self._buttons = []
        for _ in range(count):
            button = QToolButton()
            button.setCheckable(True)
            button.setChecked(True)
            button.setProperty("role", "key")
            button.setIconSize(QSize(_SWATCH, _SWATCH))
            button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
            button.clicked.connect(lambda _=False: self.hidden_changed.emit())
            self._row.addWidget(button)
            self._buttons.append(button)
