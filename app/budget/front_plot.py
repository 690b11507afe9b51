"""Budget front: predicted KL over cost, the allocation in place, uniform recipes and finished runs."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QEvent, QObject, QPointF, Qt, Signal
from PySide6.QtGui import QKeyEvent

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.pareto_plot import LABEL_HEIGHT, Point, apart, framing
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import Estimate, Floats, Front
from benchvise.core.text import byte_text, kl_text

_MAX_DECADES = 5.0
"""Below the greatest KL; what is less is as good as none, and would leave little room for the rest."""
_UNITS = (("GB", 1e9), ("MB", 1e6), ("kB", 1e3), ("B", 1.0))


@dataclass(frozen=True)
class FrontView:
    """front: what is drawn as a line. present: (cost, predicted KL) of the allocation that is shown.

    uniform: recipes that treat all layers the same, with what was measured of them together; runs: finished ones, with
    their measured KL. Costs of all are in the front's unit.
    """

    front: Front
    present: tuple[float, Estimate] | None = None
    uniform: tuple[Point, ...] = ()
    runs: tuple[Point, ...] = ()


class FrontPlot(Plot):
    """point_chosen: the place on the front that was clicked, or moved to with the arrow keys; run_clicked: a run."""

    name = "front"
    point_chosen = Signal(int)
    run_clicked = Signal(str)

    def __init__(self) -> None:
        super().__init__()
        self._view: FrontView | None = None
        self._unit, self._scale = "B", 1.0
        self._kept = np.zeros(0, np.int64)
        self._least = -9.0
        self.plot = self.add_plot(
            0, 0, axes={"left": NumberAxis("left", logarithmic=True), "bottom": NumberAxis("bottom")}
        )
        self.plot.showGrid(x=True, y=True, alpha=0.15)
        self.plot.setLabel("left", "KL")
        self.line = pg.PlotCurveItem()
        self.uniform = pg.ScatterPlotItem(size=9, pxMode=True, symbol="s")
        self.runs = pg.ScatterPlotItem(size=11, pxMode=True, symbol="o")
        self.range = pg.PlotCurveItem()
        self.present = pg.ScatterPlotItem(size=15, pxMode=True, symbol="d")
        for item in (self.line, self.uniform, self.runs, self.range, self.present):
            self.plot.addItem(item)
        self._labels: list[pg.TextItem] = []
        self._labelled: object = None
        self._framed: object = None
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.canvas.installEventFilter(self)
        self.start()

    def show_front(self, view: FrontView | None) -> None:
        """Draw at the next picture."""
        self._view = view
        self.redraw_soon()

    def show_front_now(self, view: FrontView) -> None:
        """Draw at once: a slider is being dragged."""
        self._view = view
        self.redraw_now()

    def draw(self) -> None:
        view = self._view
        if view is None or not view.front.cost.size:
            for item in (self.line, self.range):
                item.setData([], [])
            for item in (self.uniform, self.runs, self.present):
                item.setData([])
            self._write_labels(())
            return
        front = view.front
        self._unit, self._scale = _unit_of(front)
        self._kept = np.flatnonzero(np.isfinite(front.kl))
        positive = front.kl[self._kept][front.kl[self._kept] > 0]
        self._least = _floor(positive)
        label = f"{tr('Size') if front.unit == 'bytes' else tr('Decode time')}, {self._unit}"
        if label != self.plot.getAxis("bottom").labelText:  # a label makes both axes be laid out anew
            self.plot.setLabel("bottom", label)
        self.line.setData(front.cost[self._kept] / self._scale, self._heights(front.kl[self._kept]))
        self._draw_points(view)
        self._frame(view)
        self._write_labels((*view.uniform, *view.runs))

    def _draw_points(self, view: FrontView) -> None:
        for item, points in ((self.uniform, view.uniform), (self.runs, view.runs)):
            item.setData(
                x=[point.x / self._scale for point in points],
                y=[self._height(point.y) for point in points],
                data=[point.run for point in points],
            )
        if view.present is None:
            self.present.setData([])
            self.range.setData([], [])
        else:
            cost, kl = view.present
            self.present.setData(x=[cost / self._scale], y=[self._height(kl.value)])
            self.range.setData([cost / self._scale] * 2, [self._height(kl.low), self._height(kl.high)])

    def _write_labels(self, points: Sequence[Point]) -> None:
        """Names beside the points; those that would stand on another's are left to the read-out."""
        view = self.plot.getViewBox()
        shown = tuple(points), self._scale, self._least, self.theme().name, view.width() // 40, view.height() // 20
        if shown == self._labelled:
            return
        self._labelled = shown
        for label in self._labels:
            self.plot.removeItem(label)
        self._labels = []
        places = [(point.x / self._scale, self._height(point.y)) for point in points]
        widths = [self.fontMetrics().horizontalAdvance(point.label) + LABEL_HEIGHT for point in points]
        for index in apart(places, widths, view.viewPixelSize()):
            label = pg.TextItem(points[index].label, color=self.theme().muted, anchor=(-0.1, 0.5))
            label.setPos(*places[index])
            self.plot.addItem(label, ignoreBounds=True)
            self._labels.append(label)

    def _frame(self, view: FrontView) -> None:
        """Frame anew when another front is drawn, not while a point moves along it."""
        front = view.front
        framed = (front.unit, len(front.cost), float(front.cost[0]), float(front.cost[-1]), view.uniform, view.runs)
        if framed != self._framed:
            self._framed = framed
            self.reset_zoom()

    def reset_zoom(self) -> None:
        view = self._view
        if view is None or not self._kept.size:
            return
        points = (*view.uniform, *view.runs)
        xs = [*(view.front.cost[self._kept] / self._scale).tolist(), *(point.x / self._scale for point in points)]
        ys = [*self._heights(view.front.kl[self._kept]).tolist(), *(self._height(point.y) for point in points)]
        self.plot.setXRange(*framing(xs, least=0), padding=0)
        self.plot.setYRange(*framing(ys, least=None), padding=0)

    def paint_theme(self, theme: Theme) -> None:
        self.line.setPen(pg.mkPen(theme.accent, width=1))
        self.range.setPen(pg.mkPen(theme.after, width=2))
        self.present.setBrush(pg.mkBrush(theme.after))
        self.present.setPen(pg.mkPen(theme.panel, width=1))
        self.uniform.setBrush(pg.mkBrush(theme.muted))
        self.uniform.setPen(pg.mkPen(theme.panel, width=1))
        self.runs.setBrush(pg.mkBrush(theme.good))
        self.runs.setPen(pg.mkPen(theme.panel, width=1))
        self.redraw_soon()

    def data(self) -> Data:
        view = self._view
        unit = view.front.unit if view is not None else "bytes"
        return Data(("what", f"cost_{unit}", "kl"), () if view is None else _rows(view))

    def summary(self) -> str:
        view = self._view
        if view is None or not view.front.cost.size:
            return tr("No allocation yet.")
        front = view.front
        said = tr(
            "Predicted KL over cost, {count} allocations from {cost} (KL ≈ {kl}) to {cost_2} (KL ≈ {kl_2})",
            count=len(front.cost),
            cost=self._cost_text(float(front.cost[0])),
            kl=kl_text(float(front.kl[0])),
            cost_2=self._cost_text(float(front.cost[-1])),
            kl_2=kl_text(float(front.kl[-1])),
        )
        if view.present is not None:
            said += tr(
                "; shown is {present}, KL ≈ {kl}",
                present=self._cost_text(view.present[0]),
                kl=kl_text(view.present[1].value),
            )
        return f"{said}."

    def clicked(self, event: pg.GraphicsScene.mouseEvents.MouseClickEvent) -> None:
        view = self.plot.getViewBox()
        if self._view is None or not view.sceneBoundingRect().contains(event.scenePos()):
            return
        point = view.mapSceneToView(event.scenePos())
        spots = self.runs.pointsAt(point)
        if len(spots):
            self.run_clicked.emit(str(spots[0].data()))
        elif self._kept.size:
            self.point_chosen.emit(self._nearest(point.x()))
        event.accept()

    def _nearest(self, x: float) -> int:
        """Place on the front that lies nearest to a cost in the drawn unit."""
        assert self._view is not None
        costs = self._view.front.cost[self._kept] / self._scale
        return int(self._kept[int(np.argmin(np.abs(costs - x)))])

    def eventFilter(self, target: QObject, event: QEvent) -> bool:
        if target is self.canvas and isinstance(event, QKeyEvent) and event.type() == QEvent.Type.KeyPress:
            return self._key_pressed(Qt.Key(event.key()))
        return super().eventFilter(target, event)

    def _key_pressed(self, key: Qt.Key) -> bool:
        """Left and right go along the front."""
        step = {Qt.Key.Key_Left: -1, Qt.Key.Key_Right: 1}.get(key, 0)
        if not step or self._view is None or not self._kept.size:
            return False
        at = self._view.present[0] / self._scale if self._view.present is not None else -math.inf
        place = int(np.flatnonzero(self._kept == self._nearest(at))[0]) + step
        self.point_chosen.emit(int(self._kept[min(max(place, 0), len(self._kept) - 1)]))
        return True

    def _hover(self, position: QPointF) -> None:
        view, shown = self.plot.getViewBox(), self._view
        if shown is None or not self._kept.size or not view.sceneBoundingRect().contains(position):
            self.readout.clear()
            return
        point = view.mapSceneToView(position)
        by_run = {known.run: known for known in (*shown.uniform, *shown.runs)}
        spots = [*self.runs.pointsAt(point), *self.uniform.pointsAt(point)]
        if spots and spots[0].data() in by_run:
            known = by_run[spots[0].data()]
            self.readout.setText(
                tr(
                    "{label}: {cost}, KL {y} measured",
                    label=known.label,
                    cost=self._cost_text(known.x),
                    y=kl_text(known.y),
                )
            )
            return
        place = self._nearest(point.x())
        cost, kl = float(shown.front.cost[place]), float(shown.front.kl[place])
        self.readout.setText(
            tr("{cost}: KL ≈ {kl} (click to put it in place)", cost=self._cost_text(cost), kl=kl_text(kl))
        )

    def _cost_text(self, cost: float) -> str:
        if self._view is not None and self._view.front.unit != "bytes":
            return tr("{cost:.3g} ms", cost=cost)
        return byte_text(cost)

    def _height(self, kl: float) -> float:
        return max(math.log10(kl), self._least) if 0 < kl < math.inf else self._least

    def _heights(self, kl: Floats) -> Floats:
        heights: Floats = np.log10(np.maximum(kl, 10.0**self._least))
        return heights


def _floor(positive: Floats) -> float:
    """Decimal logarithm of the KL at the foot of the picture, where whatever is less is drawn too."""
    if not positive.size:
        return -9.0
    return max(math.log10(float(positive.min())) - 0.5, math.log10(float(positive.max())) - _MAX_DECADES)


def _unit_of(front: Front) -> tuple[str, float]:
    if front.unit != "bytes":
        return front.unit, 1.0
    return next((unit, size) for unit, size in _UNITS if front.cost[-1] >= size or size == 1.0)


def _rows(view: FrontView) -> list[tuple[Cell, ...]]:
    rows: list[tuple[Cell, ...]] = [
        (tr("best predicted"), float(cost), float(kl)) for cost, kl in zip(view.front.cost, view.front.kl, strict=True)
    ]
    if view.present is not None:
        rows.append((tr("shown, predicted"), view.present[0], view.present[1].value))
    rows += [(tr("{label}, measured", label=point.label), point.x, point.y) for point in (*view.uniform, *view.runs)]
    return rows
