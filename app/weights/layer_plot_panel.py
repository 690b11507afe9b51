"""What every panel of plots has: it asks only while seen, and teaches while it has nothing to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

import qtawesome
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QLabel, QPushButton, QStackedLayout, QVBoxLayout, QWidget

from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.core.protocol.events import Failed

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

SETTLE_MS = 80
"""Edits in quick succession (a dragged slider, arrow keys in the tree) become one question."""


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


class PlotPanel(QWidget):
    """A stack of an empty state and the content. Subclasses put widgets into `content` and answer `refresh`.

    title and icon name the panel in tabs and docks.
    """

    title = ""
    icon = ""

    def __init__(self, document: Document, client: EngineClient, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.document = document
        self.client = client
        self.setProperty("surface", "panel")
        self.setAttribute(Qt.WidgetAttribute.WA_StyledBackground)
        self.question = LatestRequest(client, self)
        self.empty = EmptyState(self.icon)
        self.content = QWidget()
        self._stack = QStackedLayout(self)
        self._stack.addWidget(self.empty)
        self._stack.addWidget(self.content)
        self._due = True
        self._settle = QTimer(self, singleShot=True, interval=SETTLE_MS)
        self._settle.timeout.connect(self._refresh_now)

    def refresh(self) -> None:
        """Bring the panel in line with the document; called only while it is seen."""
        raise NotImplementedError

    def refresh_soon(self) -> None:
        """Refresh once things have settled, and not before the panel is seen."""
        self._due = True
        if self.isVisible():
            self._settle.start(SETTLE_MS)

    def say_empty(self, heading: str, text: str, button: str = "") -> None:
        """Show the empty state in place of the content, and hear no more of what was asked."""
        self.question.drop()
        self.empty.say(heading, text, button)
        self.show_empty()

    def say_failed(self, event: Failed) -> None:
        """Show what failed and the remedy in place of the content."""
        place = f" ({event.where})" if event.where else ""
        self.say_empty("This could not be shown", f"{event.what}{place}. {event.remedy}".strip())

    def show_empty(self) -> None:
        self._stack.setCurrentWidget(self.empty)

    def show_content(self) -> None:
        self._stack.setCurrentWidget(self.content)

    @property
    def shows_content(self) -> bool:
        return self._stack.currentWidget() is self.content

    def showEvent(self, event: QShowEvent) -> None:
        super().showEvent(event)
        if self._due:
            self._settle.start(0)

    def _refresh_now(self) -> None:
        if self.isVisible():
            self._due = False
            self.refresh()
