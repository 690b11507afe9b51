"""What every panel of plots has: it asks only while seen, and teaches while it has nothing to show."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QShowEvent
from PySide6.QtWidgets import QStackedLayout, QWidget

from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.widgets.empty_state import EmptyState
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

SETTLE_MS = 80
"""Edits in quick succession (a dragged slider, arrow keys in the tree) become one question."""

NO_OUTPUT = message(
    "No config.json names the network's architecture, so its output cannot be computed. Looking at layers, choosing "
    "treatments, running and exporting work all the same."
)
"""Why what is judged by the output is not offered."""


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
        self.say_empty(tr("This could not be shown"), f"{tr(event.what)}{place}. {tr(event.remedy)}".strip())

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
