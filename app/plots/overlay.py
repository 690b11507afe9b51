"""What lies over a plot without taking room from it: a box of icons in a corner, a line of text in another."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QWidget

RIGHT, EDGE = 12, 8
"""Pixels between the box and the plot's edges."""


class Corner(QFrame):
    """The box of icons at the top right. It comes with the mouse or the focus; `lasting` keeps it in sight."""

    def __init__(self, parent: QWidget, *, lasting: bool) -> None:
        super().__init__(parent)
        self._canvas = parent
        self._lasting = lasting
        self.setProperty("surface", "corner")
        self.row = QHBoxLayout(self)
        self.row.setContentsMargins(2, 2, 2, 2)
        self.row.setSpacing(0)
        self.setVisible(lasting)

    def want(self, wanted: bool) -> None:
        """The mouse came to the plot or left it."""
        self.setVisible(wanted or self._lasting or self._has_focus())
        self.place()

    def place(self) -> None:
        """Keep to the corner of a plot that has another size now."""
        self.adjustSize()
        self.move(max(0, self._canvas.width() - self.width() - RIGHT), EDGE)

    def _has_focus(self) -> bool:
        focused = self.window().focusWidget()
        return focused is not None and self.isAncestorOf(focused) and focused.hasFocus()


class Readout(QLabel):
    """A line at the bottom left that is there only while it says something, and lets the mouse through."""

    def __init__(self, parent: QWidget) -> None:
        super().__init__(parent)
        self._canvas = parent
        self.setTextFormat(Qt.TextFormat.PlainText)
        self.setProperty("surface", "corner")
        self.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
        self.setContentsMargins(6, 1, 6, 1)
        self.hide()

    def setText(self, text: str) -> None:
        super().setText(text)
        self.setVisible(bool(text))
        self.place()

    def clear(self) -> None:
        self.setText("")

    def place(self) -> None:
        """Keep to the corner, never wider than the plot."""
        room = self._canvas.size()
        hint = self.sizeHint()
        width = min(hint.width(), max(0, room.width() - 2 * EDGE))
        self.setGeometry(EDGE, max(0, room.height() - hint.height() - 4), width, hint.height())
        self.raise_()
