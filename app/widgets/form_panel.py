"""A panel of one column of forms that scrolls where there is no room for it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QScrollArea, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT

MIN_WIDTH = 248


class FormPanel(QWidget):
    """Subclasses add to `column`."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        inner = QWidget()
        inner.setProperty("surface", "panel")
        self.column = QVBoxLayout(inner)
        self.column.setContentsMargins(12, UNIT, 12, 2 * UNIT)
        self.column.setSpacing(UNIT)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        self.setMinimumWidth(MIN_WIDTH)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)
