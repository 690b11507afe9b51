"""A button that opens a small frame with more choices under itself."""

from __future__ import annotations

from PySide6.QtCore import QPoint, Qt
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QFrame, QToolButton, QVBoxLayout, QWidget


class PopoverButton(QToolButton):
    """Shows `content` in a frame that closes with Esc or a click elsewhere; the content keeps its state."""

    def __init__(self, text: str, tip: str, content: QWidget) -> None:
        super().__init__()
        self.setText(text)
        self.setToolTip(tip)
        self.setAccessibleName(text)
        self.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
        self.setArrowType(Qt.ArrowType.NoArrow)
        self.popover = _Popover(self, content)
        self.clicked.connect(self.popover.open)


class _Popover(QFrame):
    def __init__(self, button: QToolButton, content: QWidget) -> None:
        super().__init__(button, Qt.WindowType.Popup)
        self._button = button
        self._content = content
        self.setProperty("surface", "popover")
        layout = QVBoxLayout(self)
        layout.setContentsMargins(4, 4, 4, 8)
        layout.addWidget(content)

    def open(self) -> None:
        """Show it under its button, right edges aligned, inside the screen."""
        self.adjustSize()
        below = self._button.mapToGlobal(QPoint(self._button.width() - self.width(), self._button.height() + 2))
        screen = self._button.screen().availableGeometry()
        below.setX(max(screen.left(), min(below.x(), screen.right() - self.width())))
        below.setY(max(screen.top(), min(below.y(), screen.bottom() - self.height())))
        self.move(below)
        self.show()

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        first = self._content.nextInFocusChain()
        if first is not None:
            first.setFocus(Qt.FocusReason.PopupFocusReason)
