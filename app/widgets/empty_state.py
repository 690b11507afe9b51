"""What a panel shows while it has nothing to show."""

from __future__ import annotations

import qtawesome
from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QPushButton, QVBoxLayout, QWidget

from benchvise.app.theme.theme import current_theme, theme_notifier


class EmptyState(QWidget):
    """An icon, what will appear here and how to get it, and a button where one click does it."""

    def __init__(self, icon: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._icon = icon
        self._picture = QLabel(alignment=Qt.AlignmentFlag.AlignCenter)
        self._heading = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        font = self._heading.font()
        font.setPointSizeF(font.pointSizeF() * 1.25)
        font.setBold(True)
        self._heading.setFont(font)
        self._text = QLabel(alignment=Qt.AlignmentFlag.AlignCenter, wordWrap=True)
        self._text.setMaximumWidth(520)
        self._text.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self.button = QPushButton()
        self.button.hide()
        layout = QVBoxLayout(self)
        layout.setSpacing(8)
        layout.addStretch(2)
        layout.addWidget(self._picture)
        layout.addWidget(self._heading)
        layout.addWidget(self._text, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addWidget(self.button, 0, Qt.AlignmentFlag.AlignHCenter)
        layout.addStretch(3)
        theme_notifier().changed.connect(self._follow_theme)
        self._follow_theme()

    def say(self, heading: str, text: str, button: str = "") -> None:
        self._heading.setText(heading)
        self._text.setText(text)
        # A wrapped label in an aligned cell takes its least width, and its height for another, unless it is told both.
        width = min(520, self._text.fontMetrics().horizontalAdvance(text) + 8)
        self._text.setMinimumSize(width, self._text.heightForWidth(width))
        self.button.setText(button)
        self.button.setVisible(bool(button))
        self.setAccessibleDescription(f"{heading}. {text}")

    @property
    def heading(self) -> str:
        return self._heading.text()

    @property
    def text(self) -> str:
        return self._text.text()

    def _follow_theme(self) -> None:
        theme = current_theme()
        self._picture.setPixmap(qtawesome.icon(self._icon, color=theme.muted).pixmap(QSize(48, 48)))
        self._text.setStyleSheet(f"color: {theme.muted}")
