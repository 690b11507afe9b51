"""Marks over the cells of a map: hatching for forecasts, crosses for what is infinite, a frame for what is chosen."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QRectF, Qt
from PySide6.QtGui import QBrush, QColor, QPainter, QPen
from PySide6.QtWidgets import QStyleOptionGraphicsItem, QWidget

Mask = NDArray[np.bool_]
_CROSS = 4.0
"""Half the height of a cross, in pixels; smaller where a cell is."""
_LIGHT, _DARK = QColor(255, 255, 255, 170), QColor(0, 0, 0, 120)
"""Lines side by side: one of them stands out from any colour of the map, which is the same in both themes."""
_CROSS_COLOUR = QColor("#b0124f")


class CellMarks(pg.GraphicsObject):  # type: ignore[misc] # pyqtgraph is untyped
    """Drawn in pixels, so that hatching looks the same however wide the cells are."""

    def __init__(self) -> None:
        super().__init__()
        self.hatched: Mask = np.zeros((0, 0), bool)
        self.crossed: Mask = np.zeros((0, 0), bool)
        self.framed: tuple[int, int] | None = None
        self._frame = QColor("black")

    def show_marks(self, hatched: Mask, crossed: Mask, framed: tuple[int, int] | None) -> None:
        """hatched, crossed: bool [rows, columns]; framed: (row, column)."""
        self.prepareGeometryChange()
        self.hatched, self.crossed, self.framed = hatched, crossed, framed
        self.update()

    def set_colours(self, frame: QColor) -> None:
        self._frame = frame
        self.update()

    def boundingRect(self) -> QRectF:
        rows, columns = self.hatched.shape
        return QRectF(0, 0, columns, rows)

    def paint(
        self,
        painter: QPainter,
        option: QStyleOptionGraphicsItem,  # noqa: ARG002 - Qt's signature
        widget: QWidget | None = None,  # noqa: ARG002
    ) -> None:
        transform = painter.transform()
        painter.save()
        painter.resetTransform()
        painter.setPen(Qt.PenStyle.NoPen)
        runs = [transform.mapRect(run) for run in _runs(self.hatched)]
        for place, colour in enumerate((_LIGHT, _DARK)):
            painter.setBrushOrigin(place, 0)
            for run in runs:
                painter.fillRect(run, QBrush(colour, Qt.BrushStyle.BDiagPattern))
        painter.setRenderHint(QPainter.RenderHint.Antialiasing)
        painter.setPen(QPen(_CROSS_COLOUR, 2.0))
        for row, column in np.argwhere(self.crossed):
            _draw_cross(painter, transform.mapRect(QRectF(float(column), float(row), 1.0, 1.0)))
        if self.framed is not None:
            row, column = self.framed
            painter.setPen(QPen(self._frame, 2.0))
            painter.setBrush(Qt.BrushStyle.NoBrush)
            painter.drawRect(transform.mapRect(QRectF(column, row, 1.0, 1.0)))
        painter.restore()


def _runs(mask: Mask) -> Iterator[QRectF]:
    """Neighbouring cells of a row as one rectangle."""
    for row, cells in enumerate(mask):
        edges = np.flatnonzero(np.diff(np.concatenate([[False], cells, [False]]).astype(np.int8)))
        for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
            yield QRectF(start, row, end - start, 1.0)


def _draw_cross(painter: QPainter, cell: QRectF) -> None:
    half = min(_CROSS, cell.width() / 2, cell.height() / 2)
    middle = cell.center()
    for slope in (-1, 1):
        painter.drawLine(
            QPointF(middle.x() - half, middle.y() - slope * half), QPointF(middle.x() + half, middle.y() + slope * half)
        )
