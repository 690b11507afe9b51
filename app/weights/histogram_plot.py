"""Histograms over each other, with the values a quantisation grid can represent drawn through them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF, QTimer, Signal
from PySide6.QtGui import QColor, QResizeEvent

from benchvise.app.plots.axes import CountAxis, NumberAxis
from benchvise.app.plots.colours import series
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.plots.trace_key import KeyEntry, TraceKey
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import Floats, Histogram
from benchvise.core.text import number_text, whole_text

MAX_GRID_LINES = 256
MAX_OVERLAID = 3
"""More histograms than these over each other cannot be told apart."""
RIDGE_ROOM = 0.86
"""A ridge may reach a little into the one above it."""
VIEW_SETTLE_MS = 250
_LABEL_ROOM = 90
_FEW_LINES, _FAINTEST = 48, 25
"""More grid lines than a few are drawn fainter, so that the histogram stays to be seen."""


@dataclass(frozen=True)
class Trace:
    """One histogram to draw.

    name: of the layer; label: what the key calls it; place: "before", "after", or a layer's number among several.
    """

    name: str
    label: str
    histogram: Histogram
    place: str | int


class HistogramPlot(Plot):
    """Counts over values; counts per value and weight when layers of different size are compared.

    view_settled: (low, high) of the values in view, a while after the last zoom or pan by hand.
    """

    name = "histogram"
    free_corner = True
    view_settled = Signal(float, float)

    def __init__(self) -> None:
        super().__init__()
        self._traces: tuple[Trace, ...] = ()
        self._grid: Floats | None = None
        self._logarithmic = True
        self._compare = False
        self._fit = True
        self._axis = CountAxis("left", logarithmic=True)
        self.plot = self.add_plot(0, 0, axes={"left": self._axis, "bottom": NumberAxis("bottom")})
        self.plot.setLabel("bottom", tr("Weight"))
        self.plot.showGrid(y=True, alpha=0.15)
        self.key = TraceKey(self.canvas)
        self._bottom = tr("Weight")
        self.key.hidden_changed.connect(self.redraw_soon)
        self.plot.setDownsampling(auto=True, mode="peak")
        self.plot.setClipToView(True)
        self._ticks = pg.VTickGroup(yrange=[0.0, 1.0])
        self._ticks.setZValue(-10)
        self.plot.addItem(self._ticks, ignoreBounds=True)
        self._curves: list[pg.PlotDataItem] = []
        self._settle = QTimer(self, singleShot=True, interval=VIEW_SETTLE_MS)
        self._settle.timeout.connect(self._tell_view)
        self.plot.getViewBox().sigRangeChangedManually.connect(lambda *_: self._settle.start())
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_traces(self, traces: Sequence[Trace], grid: Floats | None, *, logarithmic: bool, compare: bool) -> None:
        """Draw these; compare: as densities, so that layers of different size lie over each other.

        grid: float64 [representable values], or None for no lines.
        """
        self._traces, self._logarithmic, self._compare = tuple(traces), logarithmic, compare
        self._grid = grid if grid is not None and 0 < len(grid) <= MAX_GRID_LINES else None
        self.redraw_soon()

    @property
    def grid_lines(self) -> int:
        return 0 if self._grid is None else len(self._grid)

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self.key.place()
        self._label_bottom()

    def show_everything(self) -> None:
        """Fit the view to the data with the next picture."""
        self._fit = True
        self.redraw_soon()

    def reset_zoom(self) -> None:
        self.show_everything()
        self.view_settled.emit(-np.inf, np.inf)

    @property
    def ridges(self) -> bool:
        """More than three layers stand above each other, on one scale, instead of over each other."""
        return self._compare and len(self._traces) > MAX_OVERLAID

    def draw(self) -> None:
        self._axis.logarithmic = self._logarithmic
        self._axis.picture = None
        while len(self._curves) < len(self._traces):
            self._curves.append(self.plot.plot([], []))
        for curve in self._curves[len(self._traces) :]:
            self.plot.removeItem(curve)
        del self._curves[len(self._traces) :]
        self.key.show_entries([] if self.ridges else [self._key_entry(trace) for trace in self._traces])
        hidden = self.key.hidden if not self.ridges else frozenset()
        heights = [self._heights(trace.histogram) for trace in self._traces]
        floor = self._floor(heights)
        scaled = [self._scaled(height, floor) for height in heights]
        bases = self._bases(scaled, floor)
        for place, (curve, trace, height) in enumerate(zip(self._curves, self._traces, scaled, strict=True)):
            x, y = _steps(trace.histogram.edges, height - floor + bases[place] if self.ridges else height)
            curve.setData(x, y, connect="finite")
            curve.setFillLevel(bases[place])
            curve.setVisible(place not in hidden)
        self._label_rows(bases)
        if self._fit and heights:
            self._fit = False
            self._fit_view(scaled, floor, bases)
        self._ticks.setXVals([] if self._grid is None else [float(value) for value in self._grid])
        self.paint_theme(self.theme())

    def _bases(self, scaled: Sequence[Floats], floor: float) -> list[float]:
        """Where each trace stands: all on the floor, or as ridges one above the other, the first on top."""
        if not self.ridges:
            return [floor] * len(scaled)
        tall = self._row_height(scaled, floor)
        return [tall * (len(scaled) - 1 - place) for place in range(len(scaled))]

    def _row_height(self, scaled: Sequence[Floats], floor: float) -> float:
        return RIDGE_ROOM * max(1e-9, max((float(height.max()) - floor for height in scaled), default=1.0))

    def _label_rows(self, bases: Sequence[float]) -> None:
        """Ridges carry their layers' names in place of counts."""
        if self.ridges:
            self._axis.setTicks([[(base, trace.label) for base, trace in zip(bases, self._traces, strict=True)]])
            self.plot.setLabel("left", "", **self._axis.labelStyle)
        else:
            self._axis.setTicks(None)
            self.plot.setLabel(
                "left", tr("Density") if self._compare else tr("Weights per bin"), **self._axis.labelStyle
            )
        height = tr("Density") + (tr(", log") if self._logarithmic else "") + tr(", the same scale in all rows")
        self._bottom = tr("Weight · height: {height}", height=height) if self.ridges else tr("Weight")
        self._label_bottom()

    def _label_bottom(self) -> None:
        """The axis's label gives way to the names of the traces where both do not fit."""
        crowded = self.key.isVisible() and 2 * self.key.width() + _LABEL_ROOM > self.canvas.width()
        self.plot.setLabel("bottom", " " if crowded else self._bottom, **self._axis.labelStyle)

    def _key_entry(self, trace: Trace) -> KeyEntry:
        return KeyEntry(trace.label, self._colour(trace, self.theme()), trace.name)

    def _colour(self, trace: Trace, theme: Theme) -> str:
        if self.ridges or trace.place == "before":
            return theme.before
        return theme.after if isinstance(trace.place, str) else series(theme.name)[trace.place % 6]

    def paint_theme(self, theme: Theme) -> None:
        for curve, trace in zip(self._curves, self._traces, strict=False):
            colour = QColor(self._colour(trace, theme))
            curve.setPen(pg.mkPen(colour, width=1))
            colour.setAlpha(90 if self.ridges else {"before": 90, "after": 35}.get(str(trace.place), 18))
            curve.setBrush(pg.mkBrush(colour))
        line = QColor(theme.faint)
        line.setAlpha(max(_FAINTEST, round(97 * min(1.0, _FEW_LINES / max(1, self.grid_lines)))))
        self._ticks.setPen(pg.mkPen(line, width=1))
        if self._traces and not self.ridges:
            self.key.show_entries([self._key_entry(trace) for trace in self._traces])

    def data(self) -> Data:
        return Data(("layer", "shown_as", "edge_low", "edge_high", "count"), _rows(self._traces))

    def summary(self) -> str:
        if not self._traces:
            return tr("No histogram.")
        first = self._traces[0].histogram
        total = int(first.counts.sum())
        if not total:
            return tr("Histogram of {name}: no finite value in range.", name=self._traces[0].name)
        peak = int(first.counts.argmax())
        others = ", ".join(trace.label for trace in self._traces[1:])
        low, high = number_text(float(first.edges[0])), number_text(float(first.edges[-1]))
        top = number_text(float(first.edges[peak : peak + 2].mean()))
        told = tr(
            "Histogram of {name}: {total} weights from {low} to {high} in {count} bins, most at {top}",
            name=self._traces[0].name,
            total=whole_text(total),
            low=low,
            high=high,
            count=len(first.counts),
            top=top,
        )
        told += tr("; compared with {others}", others=others) if others else ""
        return told + (
            tr("; the grid has {grid_lines} values in range.", grid_lines=self.grid_lines) if self.grid_lines else "."
        )

    def _fit_view(self, scaled: Sequence[Floats], floor: float, bases: Sequence[float]) -> None:
        """The library's own fitting would see only the part of a curve that is in view."""
        edges = [trace.histogram.edges for trace in self._traces]
        self.plot.setXRange(min(float(e[0]) for e in edges), max(float(e[-1]) for e in edges), padding=0.02)
        if self.ridges:
            self.plot.setYRange(0.0, max(bases) + self._row_height(scaled, floor) / RIDGE_ROOM, padding=0.01)
            return
        top = max((float(height.max()) for height in scaled), default=1.0)
        self.plot.setYRange(floor, max(top, floor + 0.5), padding=0.03)

    def _heights(self, histogram: Histogram) -> Floats:
        counts = histogram.counts.astype(np.float64)
        if not self._compare:
            return counts
        total = counts.sum()
        density: Floats = counts / (total * np.diff(histogram.edges)) if total else counts
        return density

    def _floor(self, heights: Sequence[Floats]) -> float:
        """Where the fill ends: zero, or in a logarithmic plot a little below the least that is shown."""
        if not self._logarithmic:
            return 0.0
        least = min((float(height[height > 0].min()) for height in heights if (height > 0).any()), default=1.0)
        return float(np.log10(least)) - 0.3

    def _scaled(self, height: Floats, floor: float) -> Floats:
        if not self._logarithmic:
            return height
        logs = np.full(height.shape, floor)
        np.log10(height, out=logs, where=height > 0)
        return logs

    def _hover(self, position: QPointF) -> None:
        if not self._traces or not self.plot.getViewBox().sceneBoundingRect().contains(position):
            return
        value = self.plot.getViewBox().mapSceneToView(position).x()
        told = []
        for trace in self._traces:
            edges, counts = trace.histogram.edges, trace.histogram.counts
            place = int(np.searchsorted(edges, value, side="right")) - 1
            if 0 <= place < len(counts):
                told.append(f"{trace.label} {whole_text(int(counts[place]))}")
        self.readout.setText(f"{number_text(value)}:  " + "   ".join(told) if told else "")

    def _tell_view(self) -> None:
        low, high = self.plot.getViewBox().viewRange()[0]
        self.view_settled.emit(low, high)


def _steps(edges: Floats, heights: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The outline of the bars as one line: a step mode of the plotting library would not be thinned out in view."""
    return np.repeat(edges, 2)[1:-1], np.repeat(heights, 2)


def _rows(traces: Sequence[Trace]) -> Iterator[tuple[Cell, ...]]:
    for trace in traces:
        edges, counts = trace.histogram.edges, trace.histogram.counts
        for low, high, count in zip(edges[:-1].tolist(), edges[1:].tolist(), counts.tolist(), strict=True):
            yield trace.name, trace.label, low, high, count
