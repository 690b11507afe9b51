"""A layout that puts widgets side by side, and goes on in the next line where there is no more room."""

from __future__ import annotations

from PySide6.QtCore import QPoint, QRect, QSize, Qt
from PySide6.QtWidgets import QLayout, QLayoutItem, QWidget


class FlowLayout(QLayout):
    """Left to right, top to bottom, in the middle of their line. A widget wider than the line gets the whole line, and
    those that want to grow share what is left of theirs. What is hidden takes no room.
    """

    def __init__(self, parent: QWidget | None = None, *, spacing: int = 8) -> None:
        super().__init__(parent)
        self._items: list[QLayoutItem] = []
        self.setSpacing(spacing)
        self.setContentsMargins(0, 0, 0, 0)

    def addItem(self, item: QLayoutItem) -> None:
        self._items.append(item)

    def count(self) -> int:
        return len(self._items)

    def itemAt(self, index: int) -> QLayoutItem | None:
        return self._items[index] if 0 <= index < len(self._items) else None

    def takeAt(self, index: int) -> QLayoutItem | None:
        return self._items.pop(index) if 0 <= index < len(self._items) else None

    def expandingDirections(self) -> Qt.Orientation:
        return Qt.Orientation(0)

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self._arrange(QRect(0, 0, width, 0), move=False)

    def setGeometry(self, rect: QRect) -> None:
        super().setGeometry(rect)
        self._arrange(rect, move=True)

    def sizeHint(self) -> QSize:
        return self.minimumSize()

    def minimumSize(self) -> QSize:
        height = max((item.sizeHint().height() for item in self._items), default=0)
        return QSize(24, height)

    def _arrange(self, rect: QRect, *, move: bool) -> int:
        """The height that the lines take; the items are put in place when `move`."""
        y = rect.y()
        for line in self._lines(rect.width()):
            high = max(item.sizeHint().height() for item in line)
            if move:
                self._place(line, QRect(rect.x(), y, rect.width(), high))
            y += high + self.spacing()
        return max(0, y - self.spacing() - rect.y())

    def _lines(self, room: int) -> list[list[QLayoutItem]]:
        lines: list[list[QLayoutItem]] = []
        left = 0
        for item in self._items:
            if item.isEmpty():
                continue
            width = item.sizeHint().width()
            if not lines or width > left:
                lines.append([])
                left = room
            lines[-1].append(item)
            left -= width + self.spacing()
        return lines

    def _place(self, line: list[QLayoutItem], rect: QRect) -> None:
        growing = [item for item in line if item.expandingDirections() & Qt.Orientation.Horizontal]
        taken = sum(item.sizeHint().width() + self.spacing() for item in line) - self.spacing()
        x, more = rect.x(), max(0, rect.width() - taken)
        for item in line:
            size = item.sizeHint()
            extra = more // len(growing) if item in growing else 0
            width = min(size.width() + extra, rect.width())
            at = QPoint(x, rect.y() + (rect.height() - size.height()) // 2)
            item.setGeometry(QRect(at, QSize(width, size.height())))
            x += width + self.spacing()
