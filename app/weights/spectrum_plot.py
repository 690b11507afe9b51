"""The spectrum of a weight: singular values, the energy that a rank keeps, and a rank that can be dragged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt, Signal

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Cell, Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import LookedSpectrum
from benchvise.core.text import kl_text, number_text, whole_text

_FLOOR = 1e-6
"""Of the largest singular value: what is smaller is as good as zero."""


class SpectrumPlot(Plot):
    """Singular values in powers of ten above, the energy of the first ones below, one line through both.

    rank_moved: the rank under the line, while it is dragged.
    """

    name = "spectrum"
    rank_moved = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        self._looked: LookedSpectrum | None = None
        self.rank = 0
        self.values = self.add_plot(
            0, 0, axes={"left": NumberAxis("left", logarithmic=True), "bottom": NumberAxis("bottom")}
        )
        self.energy = self.add_plot(1, 0, axes={"left": NumberAxis("left"), "bottom": NumberAxis("bottom")})
        self.energy.setXLink(self.values)
        self.values.setLabel("left", tr("Singular value"))
        self.energy.setLabel("left", tr("Energy kept, %"))
        self.energy.setLabel("bottom", tr("Rank"))
        self._curves = tuple(pg.PlotCurveItem() for _ in range(2))
        self.lines = tuple(pg.InfiniteLine(angle=90, movable=True) for _ in range(2))
        self._most = pg.InfiniteLine(angle=90, movable=False)
        for plot, curve, line in zip((self.values, self.energy), self._curves, self.lines, strict=True):
            plot.showGrid(y=True, alpha=0.15)
            plot.addItem(curve)
            plot.addItem(line)
            line.setCursor(Qt.CursorShape.SizeHorCursor)
            line.sigDragged.connect(self._dragged)
        self.energy.addItem(self._most)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_spectrum(self, looked: LookedSpectrum, rank: int) -> None:
        self._looked, self.rank = looked, rank
        self.redraw_soon()

    def draw(self) -> None:
        looked = self._looked
        if looked is None:
            return
        least = max(float(looked.values[0]), 1e-30) * _FLOOR
        places = np.arange(1, len(looked.values) + 1)
        self._curves[0].setData(places, np.log10(np.maximum(looked.values, least)))
        self._curves[1].setData(np.arange(len(looked.energy)), 100 * looked.energy)
        self._most.setValue(looked.largest)
        for line in self.lines:
            line.setBounds((1, max(1, len(looked.values))))
            line.setValue(self.rank)

    def paint_theme(self, theme: Theme) -> None:
        for curve in self._curves:
            curve.setPen(pg.mkPen(theme.before, width=2))
        for line in self.lines:
            line.setPen(pg.mkPen(theme.after, width=2))
            line.setHoverPen(pg.mkPen(theme.text, width=2))
        self._most.setPen(pg.mkPen(theme.muted, width=1, style=Qt.PenStyle.DashLine))

    def data(self) -> Data:
        return Data(("rank", "singular_value", "energy", "kl_added"), _rows(self._looked))

    def summary(self) -> str:
        looked = self._looked
        if looked is None:
            return tr("No spectrum.")
        return tr(
            "Spectrum of {layer}: rank {rank} of {count} keeps {energy} of the energy; the largest rank that pays is "
            "{largest}.",
            layer=looked.layer,
            rank=whole_text(self.rank),
            count=whole_text(len(looked.values)),
            energy=f"{looked.energy[self.rank]:.1%}",
            largest=whole_text(looked.largest),
        )

    def _dragged(self, line: pg.InfiniteLine) -> None:
        self.rank = round(line.value())
        self.rank_moved.emit(self.rank)
        self.redraw_soon()

    def _hover(self, position: QPointF) -> None:
        looked = self._looked
        for plot in (self.values, self.energy):
            view = plot.getViewBox()
            if looked is None or not view.sceneBoundingRect().contains(position):
                continue
            rank = round(view.mapSceneToView(position).x())
            if 1 <= rank <= len(looked.values):
                self.readout.setText(_told(looked, rank))
                return
        self.readout.setText("")


def _told(looked: LookedSpectrum, rank: int) -> str:
    kl = "" if looked.kl is None else f"   KL + ≈ {kl_text(float(looked.kl[rank]))}"
    value, energy = number_text(float(looked.values[rank - 1])), f"{looked.energy[rank]:.1%}"
    return tr("Rank {rank}:  singular value {value}   energy {energy}", rank=rank, value=value, energy=energy) + kl


def _rows(looked: LookedSpectrum | None) -> Iterator[tuple[Cell, ...]]:
    if looked is None:
        return
    for rank, value in enumerate(looked.values.tolist(), start=1):
        kl = "" if looked.kl is None else float(looked.kl[rank])
        yield rank, value, float(looked.energy[rank]), kl
