"""A list on the left and what belongs to the chosen entry on the right; a sentence while there is nothing to list."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel, QSplitter, QStackedWidget, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT


class SplitPanel(QWidget):
    """Subclasses call `fill` once, and `show_entries` whenever there are some, or none any more."""

    def fill(self, empty: str, left: QWidget, right: QWidget, sizes: Sequence[int]) -> None:
        """empty: what is said while there are no entries. sizes: pixels at first, and how room is shared later."""
        words = QLabel(empty, wordWrap=True, alignment=Qt.AlignmentFlag.AlignCenter)
        words.setProperty("tone", "muted")
        words.setContentsMargins(4 * UNIT, UNIT, 4 * UNIT, UNIT)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        for index, (side, size) in enumerate(zip((left, right), sizes, strict=True)):
            splitter.addWidget(side)
            splitter.setStretchFactor(index, size)
        splitter.setSizes(list(sizes))
        self._stack = QStackedWidget()
        self._stack.addWidget(words)
        self._stack.addWidget(splitter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)

    def show_entries(self, some: bool) -> None:
        """Show list and details, or the words in their place."""
        self._stack.setCurrentIndex(1 if some else 0)
