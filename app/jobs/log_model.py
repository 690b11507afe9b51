"""The log as a model: one line per message, bounded."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any

from PySide6.QtCore import QAbstractListModel, QModelIndex, QObject, QPersistentModelIndex, Qt

MAX_LINES = 5000
DROP = 500

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


@dataclass(frozen=True)
class LogLine:
    at: datetime
    text: str
    bad: bool = False

    def __str__(self) -> str:
        return f"{self.at:%H:%M:%S}  {self.text}"


class LogModel(QAbstractListModel):
    """Lines in order of coming; the oldest are dropped."""

    def __init__(self, parent: QObject | None = None, *, most: int = MAX_LINES) -> None:
        super().__init__(parent)
        self._lines: deque[LogLine] = deque()
        self._most = most

    def add(self, text: str, *, bad: bool = False) -> None:
        """Add a message; its line breaks become lines."""
        lines = [LogLine(datetime.now(), part, bad) for part in text.splitlines() if part]
        if not lines:
            return
        first = len(self._lines)
        self.beginInsertRows(QModelIndex(), first, first + len(lines) - 1)
        self._lines.extend(lines)
        self.endInsertRows()
        surplus = len(self._lines) - self._most
        if surplus > 0:
            drop = min(len(self._lines), max(surplus, min(DROP, self._most // 10)))
            self.beginRemoveRows(QModelIndex(), 0, drop - 1)
            for _ in range(drop):
                self._lines.popleft()
            self.endRemoveRows()

    def clear(self) -> None:
        self.beginResetModel()
        self._lines.clear()
        self.endResetModel()

    def as_text(self, rows: list[int] | None = None) -> str:
        """All lines, or those rows."""
        if rows is None:
            return "\n".join(map(str, self._lines))
        wanted = set(rows)
        return "\n".join(str(line) for row, line in enumerate(islice(self._lines, None)) if row in wanted)

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._lines)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        if role in (Qt.ItemDataRole.DisplayRole, Qt.ItemDataRole.ToolTipRole):
            return str(self._lines[index.row()])
        if role == Qt.ItemDataRole.UserRole:
            return self._lines[index.row()].bad
        return None
