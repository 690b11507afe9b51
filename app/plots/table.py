"""Tables of records: columns as objects, a model over them, and a view whose cells can be copied."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt
from PySide6.QtGui import QAction, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QTableView, QWidget

from benchvise.core.language import tr

Row = TypeVar("Row")
Index = QModelIndex | QPersistentModelIndex
VALUE_ROLE = Qt.ItemDataRole.UserRole + 1
"""The value behind a cell's text: what sorting compares."""

_NO_PARENT = QModelIndex()


@dataclass(frozen=True)
class TableColumn(Generic[Row]):
    """One column of a table: its header with unit, how a record's cell reads, and what sorting compares."""

    title: str
    text: Callable[[Row], str]
    value: Callable[[Row], float | str | None]
    tip: str = ""
    numeric: bool = True


class RecordTable(QAbstractTableModel, Generic[Row]):
    """Records as rows under fixed or changing columns."""

    def __init__(self, columns: Sequence[TableColumn[Row]] = (), parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._columns: tuple[TableColumn[Row], ...] = tuple(columns)
        self._rows: tuple[Row, ...] = ()

    @property
    def records(self) -> tuple[Row, ...]:
        return self._rows

    @property
    def columns(self) -> tuple[TableColumn[Row], ...]:
        return self._columns

    def show(self, rows: Sequence[Row], columns: Sequence[TableColumn[Row]] | None = None) -> None:
        """Replace all rows, and the columns too when given."""
        self.beginResetModel()
        self._rows = tuple(rows)
        if columns is not None:
            self._columns = tuple(columns)
        self.endResetModel()

    def rowCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _NO_PARENT) -> int:
        return 0 if parent.isValid() else len(self._columns)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        column, row = self._columns[index.column()], self._rows[index.row()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == VALUE_ROLE:
            return column.value(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column.numeric)
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(self._columns):
            return None
        column = self._columns[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return tr(column.title)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tr(column.tip) or None
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column.numeric)
        return None


class CopyableTable(QTableView):
    """A table whose selected cells go to the clipboard as tab-separated text with headers."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setSelectionMode(QAbstractItemView.SelectionMode.ExtendedSelection)
        self.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
        self.setAlternatingRowColors(True)
        self.setShowGrid(False)
        self.setWordWrap(False)
        self.verticalHeader().hide()
        self.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
        self.verticalHeader().setDefaultSectionSize(self.fontMetrics().height() + 8)
        self.horizontalHeader().setHighlightSections(False)
        copy = QAction(tr("Copy"), self)
        copy.setShortcut(QKeySequence(QKeySequence.StandardKey.Copy))
        copy.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        copy.triggered.connect(self.copy_selection)
        copy_all = QAction(tr("Copy whole table"), self)
        copy_all.triggered.connect(self.copy_all)
        self.addActions([copy, copy_all])
        self.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)

    def copy_selection(self) -> None:
        """Copy the selected rows; the whole table when none is selected."""
        rows = sorted({index.row() for index in self.selectedIndexes()})
        self._copy(rows or range(self.model().rowCount()))

    def copy_all(self) -> None:
        self._copy(range(self.model().rowCount()))

    def _copy(self, rows: Sequence[int]) -> None:
        model = self.model()
        columns = [column for column in range(model.columnCount()) if not self.isColumnHidden(column)]
        titles = [str(model.headerData(column, Qt.Orientation.Horizontal)) for column in columns]
        lines = [titles]
        for row in rows:
            cells = [model.index(row, column) for column in columns]
            lines.append([_exact(model.data(cell, VALUE_ROLE), model.data(cell)) for cell in cells])
        QGuiApplication.clipboard().setText("\n".join("\t".join(line) for line in lines))


def _exact(value: object, text: object) -> str:
    if value is None:
        return ""
    return repr(value) if isinstance(value, (int, float)) else str(text)


def _alignment(numeric: bool) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if numeric else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
