"""Sensitivity as it fills: a map of treatments × layers, and under it one treatment's damage as bars."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF, Signal
from PySide6.QtGui import QAction, QColor
from PySide6.QtWidgets import QMenu

from app.figures import kl_text
from app.plots.axes import NameAxis, NumberAxis
from app.plots.colour_scale import ColourScale
from app.plots.colours import magnitude
from app.plots.plot import Plot
from app.plots.saving import Cell, Data
from app.theme.theme import Theme
from core.protocol.results import Floats32, SensitivityCell

LEAST_KL = 1e-9
"""Below this a divergence is rounding; it is drawn as this so that its logarithm exists."""


@dataclass(frozen=True)
class SensitivityTable:
    """kl [treatments, layers], NaN where not measured yet; short labels for the axis beside the full names."""

    layers: tuple[str, ...]
    labels: tuple[str, ...]
    treatments: tuple[str, ...]
    kl: Floats32

    @property
    def measured(self) -> int:
        return int(np.isfinite(self.kl).sum())

    def logarithms(self) -> Floats32:
        finite = np.where(np.isfinite(self.kl), np.maximum(self.kl, LEAST_KL), np.nan)
        logs: Floats32 = np.log10(finite).astype(np.float32)
        return logs


def table_of(
    cells: dict[tuple[str, str], SensitivityCell], layers: Sequence[tuple[str, str]], treatments: Sequence[str]
) -> SensitivityTable:
    """The cells in the order of `layers` (name, label) and `treatments`."""
    kl = np.full((len(treatments), len(layers)), np.nan, np.float32)
    for row, treatment in enumerate(treatments):
        for column, (name, _) in enumerate(layers):
            cell = cells.get((name, treatment))
            if cell is not None:
                kl[row, column] = cell.kl
    return SensitivityTable(
        tuple(name for name, _ in layers), tuple(label for _, label in layers), tuple(treatments), kl
    )


class SensitivityPlot(Plot):
    """layer_clicked: name of the layer whose column was clicked; treatment_chosen: the row, shown as bars.

    extra_actions: what the context menu offers for (layer, treatment) under the pointer.
    """

    name = "sensitivity"
    layer_clicked = Signal(str)
    treatment_chosen = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._table: SensitivityTable | None = None
        self._chosen = ""
        self._current = ""
        self._rows_axis = NameAxis("left")
        self._columns_axis = NameAxis("bottom")
        self.map = self.add_plot(0, 0, axes={"left": self._rows_axis, "bottom": NameAxis("bottom")})
        self.map.invertY(True)
        self.map.setMouseEnabled(y=False)
        self.pixels = pg.ImageItem(axisOrder="row-major")
        self.map.addItem(self.pixels)
        self.scale = ColourScale(logarithmic=True)
        self.scale.stand_beside(self.map)
        self.bars_plot = self.add_plot(
            1, 0, axes={"left": NumberAxis("left", logarithmic=True), "bottom": self._columns_axis}
        )
        self.bars_plot.setLabel("left", "KL, nats per token")
        self.bars_plot.setXLink(self.map)
        self.bars_plot.setMouseEnabled(y=False)
        self.bars_plot.showGrid(y=True, alpha=0.15)
        self.bars = pg.BarGraphItem(x=[], height=[], width=0.8)
        self.bars_plot.addItem(self.bars)
        self._marker = pg.LinearRegionItem(movable=False)
        self._marker.setZValue(-5)
        self.bars_plot.addItem(self._marker, ignoreBounds=True)
        for side in (self.map, self.bars_plot):
            side.getAxis("left").setWidth(96)
        self.extra_actions: Callable[[str, str], Sequence[QAction]] = lambda _layer, _treatment: ()
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        ColourScale.leave_room(self.bars_plot)
        self._columns_axis.setHeight(self.fontMetrics().height() + 8)
        self.canvas.ci.layout.setRowStretchFactor(0, 2)
        self.canvas.ci.layout.setRowStretchFactor(1, 3)
        self.start()

    @property
    def chosen(self) -> str:
        """The treatment whose damage the bars show."""
        return self._chosen

    def show_table(self, table: SensitivityTable | None, *, chosen: str, current: str) -> None:
        """chosen: the treatment to show as bars; current: name of the selected layer, "" for none."""
        self._table, self._chosen, self._current = table, chosen, current
        self.redraw_soon()

    def draw(self) -> None:
        table = self._table
        if table is None or not table.measured:
            self.pixels.clear()
            self.bars.setOpts(x=[], height=[], y0=[])
            return
        logs = table.logarithms()
        low, high = float(np.nanmin(logs)), float(np.nanmax(logs))
        if high - low < 0.1:
            low, high = low - 0.5, high + 0.5
        self.pixels.setImage(logs, levels=(low, high), autoLevels=False)
        rows, columns = logs.shape
        self.pixels.setRect(QRectF(0, 0, columns, rows))
        self.map.setLimits(xMin=0, xMax=columns, yMin=0, yMax=rows)
        self.map.setYRange(0, rows, padding=0)
        self.scale.show_levels(low, high)
        self._rows_axis.show_names(table.treatments)
        self._columns_axis.show_names(table.labels, apart=self._label_width(table.labels))
        self._draw_bars(table, logs, low, high)

    def _draw_bars(self, table: SensitivityTable, logs: Floats32, low: float, high: float) -> None:
        heights = logs[table.treatments.index(self._chosen)] if self._chosen in table.treatments else logs[:0]
        places = np.flatnonzero(np.isfinite(heights))
        least, most = (heights[places].min(), heights[places].max()) if places.size else (low, high)
        floor = float(least) - max(0.3, 0.1 * float(most - least))
        brushes = [pg.mkBrush(colour) for colour in self._colours(heights[places], low, high)]
        self.bars.setOpts(
            x=places + 0.5, y0=np.full(len(places), floor), height=heights[places] - floor, width=0.8,
            brushes=brushes, pen=pg.mkPen(self.theme().muted),
        )  # fmt: skip
        self.bars_plot.setYRange(floor, float(most) + 0.1, padding=0)
        self.bars_plot.setTitle(
            f"Each layer alone as {self._chosen}", color=self.theme().text, size=f"{self.font().pointSizeF():g}pt"
        )
        self._marker.setVisible(self._current in table.layers)
        if self._current in table.layers:
            place = table.layers.index(self._current)
            self._marker.setRegion((place, place + 1))

    def paint_theme(self, theme: Theme) -> None:
        self.pixels.setLookupTable(magnitude())
        self.scale.paint_theme(theme, magnitude())
        self.map.getViewBox().setBackgroundColor(QColor(theme.window))
        tint = QColor(theme.accent)
        tint.setAlpha(60)
        self._marker.setBrush(pg.mkBrush(tint))
        for line in self._marker.lines:
            line.setPen(pg.mkPen(None))
        self.redraw_soon()

    def reset_zoom(self) -> None:
        super().reset_zoom()
        self.redraw_soon()

    def data(self) -> Data:
        return Data(("layer", "treatment", "kl"), _rows(self._table))

    def summary(self) -> str:
        table = self._table
        if table is None or not table.measured:
            return "No sensitivity measured."
        row, column = np.unravel_index(int(np.nanargmax(table.kl)), table.kl.shape)
        return (
            f"Sensitivity of {len(table.layers)} layers to {len(table.treatments)} treatments, {table.measured} of "
            f"{table.kl.size} measured; the greatest damage is {kl_text(float(table.kl[row, column]))} nats per token, "
            f"{table.layers[column]} as {table.treatments[row]}."
        )

    def clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        place = self.cell_at(event.scenePos())
        if place is None or self._table is None:
            return
        row, column = place
        if row is not None:
            self.treatment_chosen.emit(self._table.treatments[row])
        self.layer_clicked.emit(self._table.layers[column])
        event.accept()

    def menu_at(self, position: QPointF) -> QMenu:
        menu = super().menu_at(position)
        place, table = self.cell_at(position), self._table
        if place is not None and table is not None:
            row, column = place
            treatment = self._chosen if row is None else table.treatments[row]
            first = menu.actions()[0]
            for action in self.extra_actions(table.layers[column], treatment):
                action.setParent(menu)
                menu.insertAction(first, action)
            menu.insertSeparator(first)
        return menu

    def cell_at(self, position: QPointF) -> tuple[int | None, int] | None:
        """(row, column) under a point of the scene; the row is None over the bars."""
        if self._table is None:
            return None
        for plot in (self.map, self.bars_plot):
            view = plot.getViewBox()
            if view.sceneBoundingRect().contains(position):
                point = view.mapSceneToView(position)
                row, column = int(point.y()), int(point.x())
                if not 0 <= column < len(self._table.layers):
                    return None
                if plot is self.bars_plot:
                    return None, column
                return (row, column) if 0 <= row < len(self._table.treatments) else None
        return None

    def _hover(self, position: QPointF) -> None:
        place, table = self.cell_at(position), self._table
        if place is None or table is None:
            self.readout.clear()
            return
        row, column = place
        rows = range(len(table.treatments)) if row is None else (row,)
        told = (f"{table.treatments[at]} {_kl_words(float(table.kl[at, column]))}" for at in rows)
        self.readout.setText(f"{table.layers[column]}:  " + "   ".join(told))

    def _colours(self, logs: Floats32, low: float, high: float) -> list[QColor]:
        table = magnitude()
        places = np.clip((logs - low) / (high - low) * len(table), 0, len(table) - 1).astype(int)
        return [QColor(*map(int, table[place])) for place in places]

    def _label_width(self, labels: Sequence[str]) -> int:
        return max((self.fontMetrics().horizontalAdvance(label) for label in labels), default=16) + 10


def _kl_words(kl: float) -> str:
    return kl_text(kl) if math.isfinite(kl) else "not measured"


def _rows(table: SensitivityTable | None) -> Iterator[tuple[Cell, ...]]:
    if table is None:
        return
    for row, treatment in enumerate(table.treatments):
        for column, layer in enumerate(table.layers):
            if np.isfinite(table.kl[row, column]):
                yield layer, treatment, table.kl[row, column]
