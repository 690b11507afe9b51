"""The layers of a compression as a table, growing while the job runs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from PySide6.QtCore import QAbstractTableModel, QModelIndex, QObject, QPersistentModelIndex, Qt

from benchvise.core.language import message, tr
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.text import byte_text, duration_text, error_text, number_text

Index = QModelIndex | QPersistentModelIndex
_NOWHERE = QModelIndex()


@dataclass(frozen=True)
class ResultColumn:
    title: str
    help: str
    text: Callable[[LayerCompressed], str]
    key: Callable[[LayerCompressed], Any]
    right: bool = True


def _sqnr(layer: LayerCompressed) -> str:
    return "exact" if layer.sqnr_db is None else f"{layer.sqnr_db:.2f}"


RESULT_COLUMNS = (
    ResultColumn(
        message("Layer"), message("Finished layers, as they come"), lambda r: r.name, lambda r: r.name, right=False
    ),
    ResultColumn(
        message("Treatment"), message("What was done"), lambda r: r.treatment, lambda r: r.treatment, right=False
    ),
    ResultColumn(
        message("SQNR (dB)"),
        message("Signal to quantisation noise: higher is closer to the original"),
        _sqnr,
        lambda r: float("inf") if r.sqnr_db is None else r.sqnr_db,
    ),
    ResultColumn(
        message("Output error"),
        message(
            "Squared error of the layer's outputs on calibration text, over their energy; — where it was not measured"
        ),
        lambda r: "—" if r.output_error is None else error_text(r.output_error),
        lambda r: -1.0 if r.output_error is None else r.output_error,
    ),
    ResultColumn(
        message("Max error"),
        message("Largest change of one weight"),
        lambda r: number_text(r.max_error),
        lambda r: r.max_error,
    ),
    ResultColumn(
        message("Zeros"), message("Weights that are exactly zero"), lambda r: f"{r.zeros:,}", lambda r: r.zeros
    ),
    ResultColumn(
        message("Bits"), message("Bits per weight"), lambda r: f"{r.bits_per_weight:.2f}", lambda r: r.bits_per_weight
    ),
    ResultColumn(message("Bytes"), message("After"), lambda r: byte_text(r.bytes_after), lambda r: r.bytes_after),
    ResultColumn(
        message("Time"),
        message("Spent on the layer; taken up where an interrupted run had it already"),
        lambda r: tr("taken up") if r.resumed else duration_text(r.seconds),
        lambda r: r.seconds,
    ),
)


class ResultsModel(QAbstractTableModel):
    """Rows of one job's finished layers; sorts, and appends in the order of coming otherwise."""

    def __init__(self, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._rows: list[LayerCompressed] = []
        self._sort: tuple[int, bool] | None = None

    def show_results(self, rows: Sequence[LayerCompressed]) -> None:
        self.beginResetModel()
        self._rows = list(rows)
        self._apply_sort()
        self.endResetModel()

    def extend(self, rows: Sequence[LayerCompressed]) -> None:
        """Rows that came since; at the end, even while sorted, so that nothing jumps under the mouse."""
        if rows:
            first = len(self._rows)
            self.beginInsertRows(QModelIndex(), first, first + len(rows) - 1)
            self._rows.extend(rows)
            self.endInsertRows()

    def name_at(self, row: int) -> str:
        return self._rows[row].name

    def rowCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(self._rows)

    def columnCount(self, parent: Index = _NOWHERE) -> int:
        return 0 if parent.isValid() else len(RESULT_COLUMNS)

    def data(self, index: Index, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if not index.isValid():
            return None
        row, column = self._rows[index.row()], RESULT_COLUMNS[index.column()]
        if role == Qt.ItemDataRole.DisplayRole:
            return column.text(row)
        if role == Qt.ItemDataRole.TextAlignmentRole:
            return _alignment(column)
        if role == Qt.ItemDataRole.ToolTipRole:
            return "\n".join([row.name, *row.notes])
        return None

    def headerData(self, section: int, orientation: Qt.Orientation, role: int = Qt.ItemDataRole.DisplayRole) -> Any:
        if orientation != Qt.Orientation.Horizontal or not 0 <= section < len(RESULT_COLUMNS):
            return None
        column = RESULT_COLUMNS[section]
        if role == Qt.ItemDataRole.DisplayRole:
            return tr(column.title)
        if role == Qt.ItemDataRole.ToolTipRole:
            return tr(column.help)
        return _alignment(column) if role == Qt.ItemDataRole.TextAlignmentRole else None

    def sort(self, column: int, order: Qt.SortOrder = Qt.SortOrder.AscendingOrder) -> None:
        self._sort = (column, order == Qt.SortOrder.DescendingOrder) if column >= 0 else None
        self.beginResetModel()
        self._apply_sort()
        self.endResetModel()

    def as_text(self) -> str:
        """Tab-separated, with titles."""
        lines = ["\t".join(tr(column.title) for column in RESULT_COLUMNS)]
        lines += ["\t".join(column.text(row) for column in RESULT_COLUMNS) for row in self._rows]
        return "\n".join(lines)

    def _apply_sort(self) -> None:
        if self._sort is not None:
            self._rows.sort(key=RESULT_COLUMNS[self._sort[0]].key, reverse=self._sort[1])


def _alignment(column: ResultColumn) -> Qt.AlignmentFlag:
    side = Qt.AlignmentFlag.AlignRight if column.right else Qt.AlignmentFlag.AlignLeft
    return side | Qt.AlignmentFlag.AlignVCenter
