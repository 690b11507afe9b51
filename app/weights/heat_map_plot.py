"""A weight and its error as pictures side by side: zero is the background's grey, blue negative, orange positive."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, QRectF
from PySide6.QtGui import QColor, QResizeEvent

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.colour_scale import ColourScale
from benchvise.app.plots.colours import diverging
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import HeatMap, LookedMap
from benchvise.core.text import number_text, whole_text

NARROW = 720
"""Pixels below which the maps stand one above the other."""


class MapPane:
    """One picture with its axes and colour bar."""

    def __init__(self, plot: pg.PlotItem, title: str) -> None:
        self.plot = plot
        self.title = title
        self.map: HeatMap | None = None
        self.limit = 1.0
        plot.setTitle(title, size="10pt")
        plot.setLabel("left", tr("Output"))
        plot.setLabel("bottom", tr("Input"))
        plot.invertY(True)
        self.image = pg.ImageItem(axisOrder="row-major")
        plot.addItem(self.image)
        self.scale = ColourScale()
        self.scale.stand_beside(plot)

    def show(self, heat_map: HeatMap | None, limit: float) -> None:
        self.map, self.limit = heat_map, limit
        if heat_map is None or not heat_map.values.size:
            self.image.clear()
            return
        values = np.ascontiguousarray(heat_map.values, dtype=np.float32)
        self.image.setImage(values, levels=(-limit, limit), autoLevels=False)
        rows, columns = int(heat_map.row_edges[-1]), int(heat_map.column_edges[-1])
        self.image.setRect(QRectF(0, 0, columns, rows))
        self.plot.setLimits(xMin=0, xMax=columns, yMin=0, yMax=rows)
        self.scale.show_levels(-limit, limit)

    def cell_at(self, position: QPointF) -> tuple[int, int] | None:
        """Row and column of the cell under a point of the scene."""
        view = self.plot.getViewBox()
        if self.map is None or not self.map.values.size or not view.sceneBoundingRect().contains(position):
            return None
        point = view.mapSceneToView(position)
        row = int(point.y() * self.map.values.shape[0] / self.map.row_edges[-1])
        column = int(point.x() * self.map.values.shape[1] / self.map.column_edges[-1])
        inside = 0 <= row < self.map.values.shape[0] and 0 <= column < self.map.values.shape[1]
        return (row, column) if inside else None


class HeatMapPlot(Plot):
    """The weight, and beside it (below it where the window is narrow) the error, zoomed together."""

    name = "heat-map"

    def __init__(self) -> None:
        super().__init__()
        self._looked: LookedMap | None = None
        self._shared = False
        self._stacked: bool | None = None
        self.panes = tuple(
            MapPane(self.add_plot(0, place, axes={"left": NumberAxis("left"), "bottom": NumberAxis("bottom")}), title)
            for place, title in enumerate((tr("Weight"), tr("Error")))
        )
        self.panes[1].plot.setXLink(self.panes[0].plot)
        self.panes[1].plot.setYLink(self.panes[0].plot)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_maps(self, looked: LookedMap | None, *, shared: bool) -> None:
        """Draw these; shared: both colour bars end where the weight's does."""
        self._looked, self._shared = looked, shared
        self.redraw_soon()

    def draw(self) -> None:
        looked = self._looked
        weight, error = (looked.weight, looked.error) if looked is not None else (None, None)
        limit = _limit(weight)
        self.panes[0].show(weight, limit)
        self.panes[1].show(error, limit if self._shared else _limit(error))
        self.panes[1].plot.setVisible(error is not None)
        self._arrange()

    def paint_theme(self, theme: Theme) -> None:
        table = diverging(theme.name)
        for pane in self.panes:
            pane.image.setLookupTable(table)
            pane.scale.paint_theme(theme, table)
            pane.plot.setTitle(pane.title, color=theme.text, size=f"{self.font().pointSizeF():g}pt")
            # NaN cells are transparent: the background behind the picture is what is seen of them.
            pane.plot.getViewBox().setBackgroundColor(QColor(theme.window))

    def data(self) -> Data:
        titles = ("row_first", "row_end", "column_first", "column_end", "weight", "error")
        return Data(titles, _rows(self._looked))

    def summary(self) -> str:
        if self._looked is None:
            return tr("No heat map.")
        weight, error = self._looked.weight, self._looked.error
        rows, columns = int(weight.row_edges[-1]), int(weight.column_edges[-1])
        told = tr(
            "Heat map of {layer}: {rows} outputs by {columns} inputs, largest magnitude {extreme}",
            layer=self._looked.layer,
            rows=whole_text(rows),
            columns=whole_text(columns),
            extreme=number_text(weight.extreme),
        )
        return told + (
            tr(", largest error {extreme}.", extreme=number_text(error.extreme)) if error is not None else "."
        )

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._arrange()

    def _arrange(self) -> None:
        """Side by side where there is room, else one above the other; a lone map takes all."""
        stacked = self.width() < NARROW
        if stacked != self._stacked:
            self._stacked = stacked
            for pane in self.panes:
                self.canvas.ci.removeItem(pane.plot)
            for place, pane in enumerate(self.panes):
                self.canvas.ci.addItem(pane.plot, row=place if stacked else 0, col=0 if stacked else place)
        layout, alone = self.canvas.ci.layout, not self.panes[1].plot.isVisible()
        for place in (0, 1):
            used = place == 0 or not alone
            layout.setColumnStretchFactor(place, int(used and not stacked) or int(place == 0))
            layout.setRowStretchFactor(place, int(used and stacked) or int(place == 0))

    def _hover(self, position: QPointF) -> None:
        for pane in self.panes:
            cell = pane.cell_at(position)
            if cell is not None and pane.map is not None:
                self.readout.setText(self._words(pane.map, *cell))
                return
        self.readout.clear()

    def _words(self, over: HeatMap, row: int, column: int) -> str:
        looked = self._looked
        assert looked is not None
        values = tr("weight {values}", values=number_text(float(looked.weight.values[row, column])))
        if looked.error is not None and looked.error.values.shape == over.values.shape:
            values += tr("   error {values}", values=number_text(float(looked.error.values[row, column])))
        return tr(
            "output {span}, input {span_2}:  {values}",
            span=_span(over.row_edges, row),
            span_2=_span(over.column_edges, column),
            values=values,
        )


def _span(edges: np.ndarray[tuple[int], np.dtype[np.int64]], place: int) -> str:
    first, last = int(edges[place]), int(edges[place + 1]) - 1
    return str(first) if first == last else f"{first}–{last}"


def _limit(heat_map: HeatMap | None) -> float:
    """Where the colours end; a map of zeros alone keeps a scale that zero is the middle of."""
    if heat_map is None:
        return 1.0
    for limit in (heat_map.limit, heat_map.extreme):
        if np.isfinite(limit) and limit > 0:
            return float(limit)
    return 1.0


def _rows(looked: LookedMap | None) -> Iterator[tuple[Cell, ...]]:
    if looked is None:
        return
    weight, error = looked.weight, looked.error
    for row in range(weight.values.shape[0]):
        for column in range(weight.values.shape[1]):
            yield (
                int(weight.row_edges[row]),
                int(weight.row_edges[row + 1]),
                int(weight.column_edges[column]),
                int(weight.column_edges[column + 1]),
                weight.values[row, column],
                None if error is None else error.values[row, column],
            )
