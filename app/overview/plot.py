"""Blocks × roles as coloured rectangles whose areas are bytes; a click selects."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal
from PySide6.QtGui import QColor

from benchvise.app.overview.grid import NetworkGrid, Values
from benchvise.app.plots.axes import NameAxis
from benchvise.app.plots.colour_scale import ColourScale
from benchvise.app.plots.colours import magnitude
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr

_LOW, _HIGH = 2, 98
"""Percentiles that the colours span: one odd cell must not make all others the same."""
_ROW_ROOM = 0.026
"""Of the height: rows that are lower have no room for their name."""


class OverviewPlot(Plot):
    """cell_clicked: place of the cell in the grid, and whether it is added to what is selected."""

    name = "overview"
    cell_clicked = Signal(int, bool)

    def __init__(self) -> None:
        super().__init__()
        self._grid: NetworkGrid | None = None
        self._values: Values = np.zeros(0)
        self._title = ""
        self._text: Callable[[float], str] = str
        self._logarithmic = False
        self._chosen: frozenset[int] = frozenset()
        self._blocks_axis = NameAxis("bottom")
        self.plot = self.add_plot(0, 0, axes={"bottom": self._blocks_axis})
        self.plot.setLabel("bottom", tr("Block"))
        self.plot.invertY(True)
        self.plot.setMouseEnabled(y=False)
        self.plot.getAxis("left").setWidth(110)
        self.bars = pg.BarGraphItem(x0=[], x1=[], y0=[], y1=[])
        self.plot.addItem(self.bars)
        self.frames = pg.PlotDataItem()
        self.frames.setZValue(5)
        self.plot.addItem(self.frames)
        self.scale = ColourScale()
        self.scale.stand_beside(self.plot)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_cells(
        self, grid: NetworkGrid, values: Values, *, title: str, text: Callable[[float], str], logarithmic: bool
    ) -> None:
        """values: float64 [cells] of the grid, NaN where nothing is known; text: how one reads."""
        self._grid, self._values = grid, values
        self._title, self._text, self._logarithmic = title, text, logarithmic
        self.redraw_soon()

    def show_chosen(self, cells: frozenset[int]) -> None:
        """Frame these cells."""
        self._chosen = cells
        self.redraw_soon()

    def levels(self) -> tuple[float, float]:
        """What the ends of the colours stand for; decimal logarithms where the quantity is told in those."""
        known = self._told()[~np.isnan(self._told())]
        if not known.size:
            return 0.0, 1.0
        low, high = (float(value) for value in np.percentile(known, (_LOW, _HIGH)))
        return (low, high) if high > low else (low - 0.5, high + 0.5)

    def _told(self) -> Values:
        if not self._logarithmic:
            return self._values
        with np.errstate(divide="ignore", invalid="ignore"):
            logs = np.log10(self._values)
        return np.where(np.isfinite(logs), logs, np.nan)

    def draw(self) -> None:
        grid = self._grid
        if grid is None:
            return
        self.plot.setLimits(xMin=0, xMax=grid.blocks, yMin=0, yMax=1)
        self.plot.setXRange(0, grid.blocks, padding=0)
        self.plot.setYRange(0, 1, padding=0)
        self.plot.getAxis("left").setTicks([_apart(grid.rows)])
        self._blocks_axis.show_names([str(depth) for depth in grid.depths], apart=24)
        self.scale.getAxis("right").logarithmic = self._logarithmic
        self.scale.show_levels(*self.levels())
        self.paint_theme(self.theme())

    def paint_theme(self, theme: Theme) -> None:
        table = magnitude()
        self.scale.paint_theme(theme, table)
        grid = self._grid
        if grid is None:
            return
        low, high = self.levels()
        places = np.clip((self._told() - low) / (high - low), 0, 1) * (len(table) - 1)
        brushes = [
            pg.mkBrush(QColor(theme.grid) if np.isnan(place) else QColor(*map(int, table[int(place)])))
            for place in places
        ]
        self.bars.setOpts(
            x0=[cell.x0 for cell in grid.cells], x1=[cell.x1 for cell in grid.cells],
            y0=[cell.y0 for cell in grid.cells], y1=[cell.y1 for cell in grid.cells],
            brushes=brushes, pen=pg.mkPen(QColor(theme.panel), width=1),
        )  # fmt: skip
        xs, ys = [], []
        for place in sorted(self._chosen):
            cell = grid.cells[place]
            xs += [cell.x0, cell.x1, cell.x1, cell.x0, cell.x0, np.nan]
            ys += [cell.y0, cell.y0, cell.y1, cell.y1, cell.y0, np.nan]
        self.frames.setData(xs, ys, connect="finite", pen=pg.mkPen(QColor(theme.after), width=2.5))

    def data(self) -> Data:
        return Data(("cell", self._title or "value"), self._rows())

    def _rows(self) -> Iterator[tuple[Cell, ...]]:
        for cell, value in zip(self._grid.cells if self._grid is not None else (), self._values, strict=False):
            yield cell.title, float(value)

    def summary(self) -> str:
        grid, known = self._grid, self._values[~np.isnan(self._values)]
        if grid is None or not known.size:
            return tr("No overview.")
        low, high = self._text(float(known.min())), self._text(float(known.max()))
        return tr(
            "{title} of {count} parts in {blocks} blocks: from {low} to {high}.",
            title=self._title,
            count=len(grid.cells),
            blocks=grid.blocks,
            low=low,
            high=high,
        )

    def clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        place = self._cell_under(event.scenePos())
        if place is not None:
            added = bool(event.modifiers() & Qt.KeyboardModifier.ControlModifier)
            self.cell_clicked.emit(place, added)

    def _hover(self, position: QPointF) -> None:
        place = self._cell_under(position)
        if place is None or self._grid is None:
            self.readout.clear()
            return
        value = float(self._values[place])
        told = tr("not known") if np.isnan(value) else self._text(value)
        self.readout.setText(f"{self._grid.cells[place].title}:  {told}")

    def _cell_under(self, position: QPointF) -> int | None:
        box = self.plot.getViewBox()
        if self._grid is None or not box.sceneBoundingRect().contains(position):
            return None
        at = box.mapSceneToView(position)
        return self._grid.cell_at(at.x(), at.y())


def _apart(rows: tuple[tuple[str, float], ...]) -> list[tuple[float, str]]:
    """Names that do not lie on each other: of rows too close, the first keeps its name."""
    shown: list[tuple[float, str]] = []
    for name, middle in rows:
        if not shown or middle - shown[-1][0] >= _ROW_ROOM:
            shown.append((middle, name))
    return shown
