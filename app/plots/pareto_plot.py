"""Runs as points: cost against loss of quality, with the Pareto front."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Signal

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.text import number_text

LABEL_HEIGHT = 16
"""Pixels that a label takes with what is left free around it."""
_LABEL_MARGIN = 8


@dataclass(frozen=True)
class Point:
    """One run: less is better on both axes."""

    run: str
    label: str
    x: float
    y: float


def pareto_front(points: Sequence[Point]) -> tuple[Point, ...]:
    """The points that no other is at least as good as on both axes and better on one, by rising x."""
    front: list[Point] = []
    for point in sorted(points, key=lambda point: (point.x, point.y)):
        if not front or point.y < front[-1].y:
            front.append(point)
    return tuple(front)


def framing(values: Sequence[float], *, least: float | None) -> tuple[float, float]:
    """From where to where an axis shows values: a little room on both sides, 15 % around a single one.

    least: no value can be below it; None where any can (powers of ten).
    """
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    room = 0.08 * (high - low) or (0.15 * abs(high) if least is not None else 0.15) or 1.0
    return (low - room if least is None else max(least, low - room)), high + room


def apart(places: Sequence[tuple[float, float]], widths: Sequence[float], pixel: tuple[float, float]) -> list[int]:
    """Which labels to write so that none stands on one before it.

    places: (x, y) where each begins, in the plot's values. widths: in pixels. pixel: width and height of one in values.
    """
    kept: list[int] = []
    for index, ((x, y), width) in enumerate(zip(places, widths, strict=True)):
        near = width * abs(pixel[0]), LABEL_HEIGHT * abs(pixel[1])
        if not any(abs(x - places[other][0]) < near[0] and abs(y - places[other][1]) < near[1] for other in kept):
            kept.append(index)
    return kept


class ParetoPlot(Plot):
    """run_clicked: id of the run whose point was clicked."""

    name = "runs"
    run_clicked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._points: tuple[Point, ...] = ()
        self._titles = ("x", "y")
        self._active = ""
        self._logarithmic = False
        self._left = NumberAxis("left")
        self.plot = self.add_plot(0, 0, axes={"left": self._left, "bottom": NumberAxis("bottom")})
        self.plot.showGrid(x=True, y=True, alpha=0.15)
        self._front_line = pg.PlotCurveItem()
        self._dots = pg.ScatterPlotItem(size=11, pxMode=True)
        self._dots.sigClicked.connect(self._point_clicked)
        self.plot.addItem(self._front_line)
        self.plot.addItem(self._dots)
        self._nothing = pg.TextItem(anchor=(0.5, 0.5))
        self._nothing.setPos(0.5, 0.5)
        self.plot.addItem(self._nothing, ignoreBounds=True)
        self._framed: tuple[object, ...] = ()
        self._labels: list[pg.TextItem] = []
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_points(self, points: Sequence[Point], *, titles: tuple[str, str], active: str, logarithmic: bool) -> None:
        """logarithmic: the upward axis in powers of ten; points at or below zero then lie on its lower edge."""
        self._points, self._titles, self._active, self._logarithmic = tuple(points), titles, active, logarithmic
        self.redraw_soon()

    @property
    def points(self) -> tuple[Point, ...]:
        return self._points

    @property
    def front(self) -> tuple[Point, ...]:
        return pareto_front(self._points)

    def draw(self) -> None:
        theme = self.theme()
        self._left.logarithmic = self._logarithmic
        self._left.picture = None
        self.plot.setLabel("bottom", self._titles[0], **self._left.labelStyle)
        self.plot.setLabel("left", self._titles[1], **self._left.labelStyle)
        heights = {point.run: self._height(point.y) for point in self._points}
        on_front = {point.run for point in self.front}
        self._dots.setData(
            x=[point.x for point in self._points],
            y=[heights[point.run] for point in self._points],
            data=[point.run for point in self._points],
            brush=[self._brush(point, on_front, theme) for point in self._points],
            pen=[pg.mkPen(theme.text if point.run == self._active else theme.panel, width=2) for point in self._points],
        )
        front = self.front
        steps_x = np.repeat([point.x for point in front], 2)[1:]
        steps_y = np.repeat([heights[point.run] for point in front], 2)[:-1]
        self._front_line.setData(steps_x, steps_y)
        self._front_line.setPen(pg.mkPen(theme.accent, width=1))
        self._show_nothing(theme)
        framed = (self._points, self._titles, self._logarithmic)
        if framed != self._framed:
            self._framed = framed
            self.reset_zoom()
        self._write_labels(heights, on_front, theme)

    def reset_zoom(self) -> None:
        """Frame the points; never below zero, where nothing that is measured here can be."""
        xs, ys = [point.x for point in self._points], [self._height(point.y) for point in self._points]
        self.plot.setLimits(xMin=0, yMin=None if self._logarithmic else 0)
        self.plot.setXRange(*framing(xs, least=0), padding=0)
        self.plot.setYRange(*framing(ys, least=None if self._logarithmic else 0), padding=0)

    def _show_nothing(self, theme: Theme) -> None:
        self._nothing.setVisible(not self._points)
        self._nothing.setText(tr("No run has both of these measured yet: Evaluate, or Measure latency."), theme.muted)
        for side in ("left", "bottom"):
            self.plot.getAxis(side).setStyle(showValues=bool(self._points))

    def paint_theme(self, theme: Theme) -> None:  # noqa: ARG002 - every colour belongs to a point
        self.redraw_soon()

    def data(self) -> Data:
        return Data(("run", "label", *self._titles), ((p.run, p.label, p.x, p.y) for p in self._points))

    def summary(self) -> str:
        if not self._points:
            return tr("No measured run.")
        best = ", ".join(point.label for point in self.front)
        return tr(
            "{count} runs, {titles} over {titles_2}; not beaten by another: {best}.",
            count=len(self._points),
            titles=self._titles[1],
            titles_2=self._titles[0],
            best=best,
        )

    def _height(self, y: float) -> float:
        if not self._logarithmic:
            return y
        least = min((point.y for point in self._points if point.y > 0), default=1.0)
        return math.log10(y) if y > 0 else math.log10(least) - 0.5

    def _brush(self, point: Point, on_front: set[str], theme: Theme) -> object:
        return pg.mkBrush(theme.accent if point.run in on_front else theme.muted)

    def _write_labels(self, heights: Mapping[str, float], on_front: set[str], theme: Theme) -> None:
        """The active run's name first, then those on the front; names that find no room are left to the read-out."""
        for label in self._labels:
            self.plot.removeItem(label)
        ranked = sorted(self._points, key=lambda point: (point.run != self._active, point.run not in on_front))
        widths = [self.fontMetrics().horizontalAdvance(point.label) + _LABEL_MARGIN for point in ranked]
        places = [(point.x, heights[point.run]) for point in ranked]
        shown = apart(places, widths, self.plot.getViewBox().viewPixelSize())
        self._labels = [self._label(ranked[index], places[index][1], theme) for index in shown]

    def _label(self, point: Point, height: float, theme: Theme) -> pg.TextItem:
        middle = (min(one.x for one in self._points) + max(one.x for one in self._points)) / 2
        colour = theme.text if point.run == self._active else theme.muted
        # At the right of the plot the label stands to the left of its point, where there is room for it.
        label = pg.TextItem(point.label, color=colour, anchor=(1 if point.x > middle else 0, 1))
        label.setPos(point.x, height)
        self.plot.addItem(label, ignoreBounds=True)
        return label

    def _point_clicked(self, _: object, spots: Sequence[pg.SpotItem]) -> None:
        if len(spots):
            self.run_clicked.emit(str(spots[0].data()))

    def _hover(self, position: QPointF) -> None:
        view = self.plot.getViewBox()
        spots = (
            self._dots.pointsAt(view.mapSceneToView(position)) if view.sceneBoundingRect().contains(position) else []
        )
        by_run = {point.run: point for point in self._points}
        told = [by_run[spot.data()] for spot in spots if spot.data() in by_run]
        self.readout.setText(
            "   ".join(
                f"{point.label}: {self._titles[0]} {number_text(point.x)}, {self._titles[1]} {number_text(point.y)}"
                for point in told
            )
        )
