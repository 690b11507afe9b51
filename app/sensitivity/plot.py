"""Sensitivity as it fills: a map of treatments × layers, or roles × depths, and one treatment's KL increase as bars."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, QRectF, Qt, Signal
from PySide6.QtGui import QAction, QColor, QKeyEvent
from PySide6.QtWidgets import QMenu

from benchvise.app.plots.axes import NameAxis, NumberAxis
from benchvise.app.plots.cell_marks import CellMarks
from benchvise.app.plots.colour_scale import ColourScale
from benchvise.app.plots.colours import magnitude
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.sensitivity.table import Board, SensitivityTable, by_treatment, cell_words
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import Floats32
from benchvise.core.text import kl_text

_ARROWS = {
    Qt.Key.Key_Left: (0, -1),
    Qt.Key.Key_Right: (0, 1),
    Qt.Key.Key_Up: (-1, 0),
    Qt.Key.Key_Down: (1, 0),
}
_ESTIMATED_ALPHA = 90
_AXIS_WIDTH, _AXIS_MARGIN = 96, 16


class SensitivityPlot(Plot):
    """layer_clicked: name of the layer whose cell was clicked; treatment_chosen: key of the treatment shown as bars.

    cell_activated: (layer, key of the treatment) that was double-clicked, or entered with the keyboard.
    extra_actions: what the context menu offers for (layer, key) under the pointer.
    """

    name = "sensitivity"
    layer_clicked = Signal(str)
    treatment_chosen = Signal(str)
    cell_activated = Signal(str, str)

    def __init__(self) -> None:
        super().__init__()
        self._table: SensitivityTable | None = None
        self._board: Board | None = None
        self._chosen = ""
        self._current = ""
        self._rows_axis = NameAxis("left")
        self._columns_axis = NameAxis("bottom")
        self._map_axis = NameAxis("bottom")
        self.map = self.add_plot(0, 0, axes={"left": self._rows_axis, "bottom": self._map_axis})
        self.map.invertY(True)
        self.map.setMouseEnabled(y=False)
        self.pixels = pg.ImageItem(axisOrder="row-major")
        self.map.addItem(self.pixels)
        self.marks = CellMarks()
        self.map.addItem(self.marks)
        self.scale = ColourScale(logarithmic=True)
        self.scale.stand_beside(self.map)
        self.bars_plot = self.add_plot(
            1, 0, axes={"left": NumberAxis("left", logarithmic=True), "bottom": self._columns_axis}
        )
        self.bars_plot.setLabel("left", tr("KL, nats per token"))
        self.bars_plot.setMouseEnabled(y=False)
        self.bars_plot.showGrid(y=True, alpha=0.15)
        self.bars = pg.BarGraphItem(x=[], height=[], width=0.8)
        self.bars_plot.addItem(self.bars)
        self._marker = pg.LinearRegionItem(movable=False)
        self._marker.setZValue(-5)
        self.bars_plot.addItem(self._marker, ignoreBounds=True)
        self.extra_actions: Callable[[str, str], Sequence[QAction]] = lambda _layer, _treatment: ()
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.canvas.installEventFilter(self)
        ColourScale.leave_room(self.bars_plot)
        self._columns_axis.setHeight(self.fontMetrics().height() + 8)
        self.show_parts(map_shown=True, bars_shown=True)
        self.start()

    @property
    def chosen(self) -> str:
        """Key of the treatment whose KL increases the bars show."""
        return self._chosen

    def show_parts(self, *, map_shown: bool, bars_shown: bool) -> None:
        """Show the map, the bars, or both with one axis of layers."""
        both = map_shown and bars_shown
        self.map.setVisible(map_shown)
        self.bars_plot.setVisible(bars_shown)
        self.bars_plot.setXLink(self.map if both else None)
        self._map_axis.setStyle(showValues=not both)
        self._map_axis.setHeight(2 if both else self.fontMetrics().height() + 8)
        rows = self.canvas.ci.layout
        for row, (shown, share) in enumerate(((map_shown, 2), (bars_shown, 3))):
            rows.setRowStretchFactor(row, share if shown else 0)
            rows.setRowMaximumHeight(row, 16777215 if shown else 0)
        self.redraw_soon()

    def show_table(
        self, table: SensitivityTable | None, *, chosen: str, current: str, board: Board | None = None
    ) -> None:
        """chosen: key of the treatment to show as bars; current: name of the selected layer, "" for none.

        board: how the map is laid out; treatments × layers unless it is given.
        """
        self._table, self._chosen, self._current = table, chosen, current
        self._board = by_treatment(table) if board is None and table is not None else board
        self.redraw_soon()

    def draw(self) -> None:
        table, board = self._table, self._board
        if table is None or board is None or not table.known:
            self.pixels.clear()
            self.marks.show_marks(np.zeros((0, 0), bool), np.zeros((0, 0), bool), None)
            self.bars.setOpts(x=[], height=[], y0=[])
            return
        logs = table.logarithms()
        low, high = _levels(logs)
        picture = board.numbers(np.where(np.isinf(table.kl), np.float32(high), logs))
        self.pixels.setImage(picture, levels=(low, high), autoLevels=False)
        rows, columns = picture.shape
        self.pixels.setRect(QRectF(0, 0, columns, rows))
        self.marks.show_marks(board.mask(table.estimated), board.mask(np.isinf(table.kl)), self._framed(table, board))
        self.map.setLimits(xMin=0, xMax=columns, yMin=0, yMax=rows)
        self.map.setYRange(0, rows, padding=0)
        self.scale.show_levels(low, high)
        self._rows_axis.show_names(board.rows)
        self._make_room_for(board.rows)
        self._map_axis.show_names(board.columns, apart=self._label_width(board.columns))
        self._columns_axis.show_names(table.labels, apart=self._label_width(table.labels))
        self._draw_bars(table, logs, low, high)

    def _make_room_for(self, names: Sequence[str]) -> None:
        """Axes of both plots as wide as the longest name takes: one that does not fit would not be written at all."""
        longest = max((self.fontMetrics().horizontalAdvance(name) for name in names), default=0)
        for side in (self.map, self.bars_plot):
            side.getAxis("left").setWidth(max(_AXIS_WIDTH, longest + _AXIS_MARGIN))

    def _framed(self, table: SensitivityTable, board: Board) -> tuple[int, int] | None:
        """The cell of the selected layer and the chosen treatment."""
        if self._current not in table.layers or self._chosen not in table.keys:
            return None
        layer, treatment = table.layers.index(self._current), table.keys.index(self._chosen)
        found = np.argwhere((board.layer == layer) & (board.treatment == treatment))
        return (int(found[0, 0]), int(found[0, 1])) if len(found) else None

    def _draw_bars(self, table: SensitivityTable, logs: Floats32, low: float, high: float) -> None:
        row = table.keys.index(self._chosen) if self._chosen in table.keys else None
        heights = logs[row] if row is not None else np.zeros(0, np.float32)
        infinite = np.isinf(table.kl[row]) if row is not None else np.zeros(0, bool)
        places = np.flatnonzero(np.isfinite(heights) | infinite)
        finite = heights[np.isfinite(heights)]
        least, most = (float(finite.min()), float(finite.max())) if finite.size else (low, high)
        floor, top = least - max(0.3, 0.1 * (most - least)), most + 0.3 * bool(infinite.any())
        shown = np.where(infinite, top, heights)[places]
        brushes = [pg.mkBrush(colour) for colour in self._colours(shown, low, high)]
        estimated = table.estimated
        if row is not None:
            for at, place in enumerate(places.tolist()):
                if infinite[place]:
                    brushes[at] = pg.mkBrush(self.theme().error)
                elif estimated[row, place]:
                    faint = brushes[at].color()
                    faint.setAlpha(_ESTIMATED_ALPHA)
                    brushes[at] = pg.mkBrush(faint)
        self.bars.setOpts(
            x=places + 0.5, y0=np.full(len(places), floor), height=shown - floor, width=0.8,
            brushes=brushes, pen=pg.mkPen(self.theme().muted),
        )  # fmt: skip
        self.bars_plot.setLimits(xMin=0, xMax=max(1, len(table.layers)))
        self.bars_plot.setYRange(floor, top + 0.1, padding=0)
        said = "" if row is None else tr("Each layer alone as {treatments}", treatments=table.treatments[row])
        self.bars_plot.setTitle(said, color=self.theme().text, size=f"{self.font().pointSizeF():g}pt")
        self._marker.setVisible(self._current in table.layers)
        if self._current in table.layers:
            place = table.layers.index(self._current)
            self._marker.setRegion((place, place + 1))

    def paint_theme(self, theme: Theme) -> None:
        self.pixels.setLookupTable(magnitude())
        self.scale.paint_theme(theme, magnitude())
        self.map.getViewBox().setBackgroundColor(QColor(theme.window))
        self.marks.set_colours(QColor(theme.after))
        tint = QColor(theme.accent)
        tint.setAlpha(60)
        self._marker.setBrush(pg.mkBrush(tint))
        for edge in self._marker.lines:
            edge.setPen(pg.mkPen(None))
        self.redraw_soon()

    def reset_zoom(self) -> None:
        super().reset_zoom()
        self.redraw_soon()

    def data(self) -> Data:
        return Data(("layer", "treatment", "method", "output_error", "sqnr_db", "kl"), _rows(self._table))

    def summary(self) -> str:
        table = self._table
        if table is None or not table.known:
            return tr("No sensitivity measured.")
        place = int(np.nanargmax(np.where(np.isnan(table.kl), -1.0, table.kl)))
        row, column = divmod(place, table.kl.shape[1])
        estimated = int(table.estimated.sum())
        said = tr(", {estimated} of them estimated", estimated=estimated) if estimated else ""
        return tr(
            "Sensitivity of {count} layers to {count_2} treatments, {known} of {size} known{said}; "
            "the largest KL increase is {kl} nats per token, {layers} as {treatments}.",
            count=len(table.layers),
            count_2=len(table.treatments),
            known=table.known,
            size=table.kl.size,
            said=said,
            kl=kl_text(float(table.kl[row, column])),
            layers=table.layers[column],
            treatments=table.treatments[row],
        )

    def clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        found = self._what_at(event.scenePos())
        if found is None or self._table is None:
            return
        treatment, layer = found
        if treatment is not None:
            self.treatment_chosen.emit(self._table.keys[treatment])
        self.layer_clicked.emit(self._table.layers[layer])
        if event.double():
            key = self._chosen if treatment is None else self._table.keys[treatment]
            self.cell_activated.emit(self._table.layers[layer], key)
        event.accept()

    def menu_at(self, position: QPointF) -> QMenu:
        menu = super().menu_at(position)
        found, table = self._what_at(position), self._table
        if found is not None and table is not None:
            treatment, layer = found
            key = self._chosen if treatment is None else table.keys[treatment]
            first = menu.actions()[0]
            for action in self.extra_actions(table.layers[layer], key):
                action.setParent(menu)
                menu.insertAction(first, action)
            menu.insertSeparator(first)
        return menu

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if target is self.canvas and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._key_pressed(Qt.Key(event.key()))
        return super().eventFilter(target, event)

    def _key_pressed(self, key: Qt.Key) -> bool:
        """Arrows go from cell to cell, Enter puts the treatment in place."""
        table, board = self._table, self._board
        if table is None or board is None or not board.layer.size:
            return False
        at = self._framed(table, board)
        if key in (Qt.Key.Key_Return, Qt.Key.Key_Enter) and at is not None:
            self.cell_activated.emit(self._current, self._chosen)
            return True
        if key not in _ARROWS:
            return False
        down, right = _ARROWS[key]
        row, column = (at[0] + down, at[1] + right) if at is not None else (0, 0)
        row, column = min(max(row, 0), len(board.rows) - 1), min(max(column, 0), len(board.columns) - 1)
        if board.layer[row, column] >= 0:
            treatment, layer = int(board.treatment[row, column]), int(board.layer[row, column])
            self.treatment_chosen.emit(table.keys[treatment])
            self.layer_clicked.emit(table.layers[layer])
            self.readout.setText(f"{table.layers[layer]}:  {cell_words(table, treatment, layer)}")
        return True

    def cell_at(self, position: QPointF) -> tuple[int | None, int] | None:
        """(row, column) of the map under a point of the scene; over the bars the row is None, the column a layer."""
        table, board = self._table, self._board
        if table is None or board is None:
            return None
        for plot in (self.map, self.bars_plot):
            view = plot.getViewBox()
            if plot.isVisible() and view.sceneBoundingRect().contains(position):
                point = view.mapSceneToView(position)
                row, column = int(point.y()), int(point.x())
                if plot is self.bars_plot:
                    return (None, column) if 0 <= column < len(table.layers) else None
                inside = 0 <= column < len(board.columns) and 0 <= row < len(board.rows)
                return (row, column) if inside else None
        return None

    def _what_at(self, position: QPointF) -> tuple[int | None, int] | None:
        """(treatment, layer) of the table under a point of the scene; the treatment is None over the bars."""
        place, board = self.cell_at(position), self._board
        if place is None or board is None:
            return None
        row, column = place
        if row is None:
            return None, column
        layer = int(board.layer[row, column])
        return (int(board.treatment[row, column]), layer) if layer >= 0 else None

    def _hover(self, position: QPointF) -> None:
        found, table = self._what_at(position), self._table
        if found is None or table is None:
            self.readout.clear()
            return
        treatment, layer = found
        rows = range(len(table.treatments)) if treatment is None else (treatment,)
        told = (cell_words(table, row, layer) for row in rows)
        self.readout.setText(f"{table.layers[layer]}:  " + "   ".join(told))

    def _colours(self, logs: Floats32, low: float, high: float) -> list[QColor]:
        table = magnitude()
        places = np.clip((logs - low) / (high - low) * len(table), 0, len(table) - 1).astype(int)
        return [QColor(*map(int, table[place])) for place in places]

    def _label_width(self, labels: Sequence[str]) -> int:
        return max((self.fontMetrics().horizontalAdvance(label) for label in labels), default=16) + 10


def _levels(logs: Floats32) -> tuple[float, float]:
    """Of the colours: the range of finite KL increases, half a decade around a single one."""
    finite = logs[np.isfinite(logs)]
    if not finite.size:
        return -1.0, 0.0
    low, high = float(finite.min()), float(finite.max())
    return (low - 0.5, high + 0.5) if high - low < 0.1 else (low, high)


def _rows(table: SensitivityTable | None) -> Iterator[tuple[Cell, ...]]:
    for row in table.cells if table is not None else ():
        for cell in row:
            if cell is not None:
                yield cell.layer, cell.treatment, cell.method, cell.output_error, cell.sqnr_db, cell.kl
