"""The range of every channel: a band from least to greatest value, the mean, and marks on those that stand out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyqtgraph as pg
from numpy.typing import NDArray
from PySide6.QtCore import QPointF
from PySide6.QtGui import QColor

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import ChannelRanges, LookedChannels
from benchvise.core.text import number_text, whole_text

OUTLIER_FACTOR = 6.0
"""A channel stands out when its largest magnitude is more than this many times the median channel's."""

POINTS_IN_VIEW = 4096

Floats32 = NDArray[np.float32]
ChannelOrder = NDArray[np.int64]


@dataclass(frozen=True)
class Side:
    """The channels of one side in the order in which they are drawn: `order[i]` is the channel at place i."""

    ranges: ChannelRanges
    order: ChannelOrder
    outliers: ChannelOrder

    @classmethod
    def of(cls, ranges: ChannelRanges, *, by_magnitude: bool) -> Side:
        """outliers: places of the channels that stand out."""
        magnitude = np.nan_to_num(ranges.abs_max.astype(np.float64), nan=-1.0)
        order = np.argsort(-magnitude, kind="stable") if by_magnitude else np.arange(len(magnitude))
        finite = magnitude[magnitude >= 0]
        median = float(np.median(finite)) if finite.size else 0.0
        beyond = magnitude[order] > OUTLIER_FACTOR * median
        return cls(ranges, order, np.flatnonzero(beyond))


class ChannelLane:
    """One plot of channels, thinned to what the view can show with every peak kept."""

    def __init__(self, plot: pg.PlotItem, title: str) -> None:
        self.plot = plot
        self.title = title
        self.side: Side | None = None
        plot.setLabel("bottom", tr("{title} channel", title=title))
        plot.setLabel("left", tr("Weight"))
        plot.showGrid(y=True, alpha=0.15)
        self.low = pg.PlotCurveItem()
        self.high = pg.PlotCurveItem()
        self.band = pg.FillBetweenItem(self.low, self.high)
        self.mean = pg.PlotCurveItem(connect="finite")
        self.marks = pg.ScatterPlotItem(size=8, symbol="t", pxMode=True)
        for item in (self.band, self.low, self.high, self.mean, self.marks):
            plot.addItem(item)
        plot.getViewBox().sigXRangeChanged.connect(self.thin)

    def show(self, side: Side | None) -> None:
        self.side = side
        count = 0 if side is None else len(side.order)
        self.plot.setLimits(xMin=-0.5 - 0.02 * count, xMax=count - 0.5 + 0.02 * count if count else 1.0)
        if side is not None and count:
            self.plot.setXRange(-0.5, count - 0.5, padding=0.01)
        self.thin()

    def thin(self) -> None:
        """Draw the channels in view; neighbours are merged where there are more than can be told apart."""
        side = self.side
        if side is None or not len(side.order):
            for curve in (self.low, self.high, self.mean, self.marks):
                curve.clear()
            return
        low, high = self.plot.getViewBox().viewRange()[0]
        first, end = max(0, int(low) - 1), min(len(side.order), int(high) + 2)
        if first >= end:
            return
        places, starts = _buckets(first, end)
        order, ranges = side.order[first:end], side.ranges
        # A channel without finite values is NaN throughout: its band closes, its mean is a gap.
        self.low.setData(places, np.nan_to_num(np.fmin.reduceat(ranges.minimum[order], starts)))
        self.high.setData(places, np.nan_to_num(np.fmax.reduceat(ranges.maximum[order], starts)))
        self.mean.setData(places, ranges.mean[order][starts], connect="finite")
        channels = side.order[side.outliers]
        extreme = np.where(
            np.abs(ranges.minimum[channels]) > np.abs(ranges.maximum[channels]),
            ranges.minimum[channels],
            ranges.maximum[channels],
        )
        self.marks.setData(x=side.outliers, y=extreme)


class ChannelsPlot(Plot):
    """Output channels above, input channels below."""

    name = "channels"

    def __init__(self) -> None:
        super().__init__()
        self._looked: LookedChannels | None = None
        self._by_magnitude = False
        self.lanes = tuple(
            ChannelLane(
                self.add_plot(place, 0, axes={"left": NumberAxis("left"), "bottom": NumberAxis("bottom")}), title
            )
            for place, title in enumerate((tr("Output"), tr("Input")))
        )
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_channels(self, looked: LookedChannels | None, *, by_magnitude: bool) -> None:
        self._looked, self._by_magnitude = looked, by_magnitude
        self.redraw_soon()

    def draw(self) -> None:
        looked = self._looked
        for lane, ranges in zip(self.lanes, (looked.outputs, looked.inputs) if looked else (None, None), strict=True):
            lane.show(None if ranges is None else Side.of(ranges, by_magnitude=self._by_magnitude))
            rank = tr("by magnitude") if self._by_magnitude else tr("in order")
            lane.plot.setLabel("bottom", tr("{title} channels, {rank}", title=lane.title, rank=rank))

    def reset_zoom(self) -> None:
        super().reset_zoom()
        self.redraw_soon()

    def paint_theme(self, theme: Theme) -> None:
        fill = QColor(theme.before)
        fill.setAlpha(90)
        for lane in self.lanes:
            lane.band.setBrush(pg.mkBrush(fill))
            for curve in (lane.low, lane.high):
                curve.setPen(pg.mkPen(theme.before, width=1))
            lane.mean.setPen(pg.mkPen(theme.text, width=1))
            lane.marks.setBrush(pg.mkBrush(theme.error))
            lane.marks.setPen(pg.mkPen(theme.panel))

    def data(self) -> Data:
        return Data(("side", "channel", "minimum", "maximum", "abs_max", "mean"), _rows(self._looked))

    def outliers(self, lane: int) -> tuple[int, ...]:
        """The channels that stand out, by number."""
        side = self.lanes[lane].side
        return () if side is None else tuple(int(channel) for channel in side.order[side.outliers])

    def summary(self) -> str:
        if self._looked is None:
            return tr("No channel ranges.")
        told = []
        for place, (word, ranges) in enumerate(
            ((tr("output"), self._looked.outputs), (tr("input"), self._looked.inputs))
        ):
            found = self.outliers(place)
            named = f" ({', '.join(map(str, found[:5]))}{' …' if len(found) > 5 else ''})" if found else ""
            told.append(
                tr(
                    "{count} {word} channels, {count_2} standing out{named}",
                    count=whole_text(len(ranges.abs_max)),
                    word=word,
                    count_2=len(found) or tr("none"),
                    named=named,
                )
            )
        return tr("Channel ranges of {layer}: {names}.", layer=self._looked.layer, names="; ".join(told))

    def _hover(self, position: QPointF) -> None:
        for lane in self.lanes:
            view, side = lane.plot.getViewBox(), lane.side
            if side is None or not view.sceneBoundingRect().contains(position):
                continue
            place = round(view.mapSceneToView(position).x())
            if 0 <= place < len(side.order):
                channel, ranges = int(side.order[place]), side.ranges
                told = (f"{word} {number_text(float(values[channel]))}" for word, values in _fields(ranges))
                self.readout.setText(f"{lane.title} {channel}:  " + "   ".join(told))
                return
        self.readout.setText(self.summary() if self._looked else "")


def _buckets(first: int, end: int) -> tuple[ChannelOrder, ChannelOrder]:
    """Places to draw at and where each bucket starts: at most `POINTS_IN_VIEW` of them."""
    size = max(1, -(-(end - first) // POINTS_IN_VIEW))
    starts = np.arange(0, end - first, size)
    return starts + first, starts


def _fields(ranges: ChannelRanges) -> tuple[tuple[str, Floats32], ...]:
    return ("min", ranges.minimum), ("max", ranges.maximum), ("mean", ranges.mean), (tr("|max|"), ranges.abs_max)


def _rows(looked: LookedChannels | None) -> Iterator[tuple[Cell, ...]]:
    if looked is None:
        return
    for word, ranges in (("output", looked.outputs), ("input", looked.inputs)):
        for channel in range(len(ranges.abs_max)):
            fields = (ranges.minimum, ranges.maximum, ranges.abs_max, ranges.mean)
            yield (word, channel, *(values[channel] for values in fields))
