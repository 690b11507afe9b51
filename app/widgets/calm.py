"""Fields that leave the wheel to the panel they stand in: scrolling past must not change a setting."""

from __future__ import annotations

from typing import TypeVar

from PySide6.QtCore import QEvent, QObject, QSize, Qt
from PySide6.QtGui import QPaintEvent
from PySide6.QtWidgets import QComboBox, QStyle, QStyleOptionComboBox, QStylePainter, QWidget

W = TypeVar("W", bound=QWidget)
_MAX_VISIBLE = 24
_AROUND_TEXT = 44
"""Frame and arrow."""


class _FocusedWheel(QObject):
    """Lets the wheel through to a widget only while that has the focus."""

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if event.type() != QEvent.Type.Wheel or not isinstance(target, QWidget) or target.hasFocus():
            return False
        event.ignore()
        return True


def calm(widget: W) -> W:
    """The widget, which from now on takes the wheel only when it has the focus."""
    widget.installEventFilter(_FocusedWheel(widget))
    return widget


class CalmComboBox(QComboBox):
    """Gives way in width, and shows long lists whole."""

    def __init__(self, parent: QWidget | None = None, *, widest: int = 0) -> None:
        """widest: up to this many pixels the box asks for the room its text takes, so that forms break lines for it."""
        super().__init__(parent)
        self._widest = widest
        self.currentTextChanged.connect(lambda _: self.updateGeometry())
        self.setSizeAdjustPolicy(QComboBox.SizeAdjustPolicy.AdjustToMinimumContentsLengthWithIcon)
        self.setMinimumContentsLength(6)
        self.setMaxVisibleItems(_MAX_VISIBLE)
        calm(self)

    def minimumSizeHint(self) -> QSize:
        hint = super().minimumSizeHint()
        if not self._widest or self.currentIndex() < 0:
            return hint
        text = self.fontMetrics().horizontalAdvance(self.currentText()) + _AROUND_TEXT
        return QSize(max(hint.width(), min(text, self._widest)), hint.height())

    def paintEvent(self, event: QPaintEvent) -> None:
        """As Qt draws it, with the text shortened where Qt would cut it in the middle of a word."""
        if self.isEditable() or self.currentIndex() < 0:
            super().paintEvent(event)
            return
        option = QStyleOptionComboBox()
        self.initStyleOption(option)
        parts = QStyle.SubControl
        room = (
            self.style()
            .subControlRect(QStyle.ComplexControl.CC_ComboBox, option, parts.SC_ComboBoxEditField, self)
            .width()
        )
        option.currentText = self.fontMetrics().elidedText(self.currentText(), Qt.TextElideMode.ElideRight, room - 2)
        painter = QStylePainter(self)
        painter.drawComplexControl(QStyle.ComplexControl.CC_ComboBox, option)
        painter.drawControl(QStyle.ControlElement.CE_ComboBoxLabel, option)
