"""The bar beside a picture that says which colour is which value."""

from __future__ import annotations

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QRectF

from benchvise.app.plots.axes import NumberAxis
from benchvise.app.plots.colours import ColourTable
from benchvise.app.theme.theme import Theme

BAR_WIDTH, AXIS_WIDTH, GAP = 12, 62, 6


class ColourScale(pg.PlotItem):  # type: ignore[misc] # pyqtgraph is untyped
    """A bar of a colour table with ticks at its right; logarithmic: the levels are decimal logarithms of the values."""

    def __init__(self, *, logarithmic: bool = False) -> None:
        axis = NumberAxis("right", logarithmic=logarithmic)
        super().__init__(axisItems={"right": axis})
        self.setMenuEnabled(False)
        self.hideButtons()
        self.setMouseEnabled(x=False, y=False)
        self.disableAutoRange()
        for side in ("left", "bottom", "top"):
            self.hideAxis(side)
        self.showAxis("right")
        axis.setWidth(AXIS_WIDTH)
        self.layout.setColumnFixedWidth(1, BAR_WIDTH)
        self.setMaximumWidth(BAR_WIDTH + AXIS_WIDTH)
        self.image = pg.ImageItem(axisOrder="row-major")
        self.addItem(self.image)
        self.levels = (0.0, 1.0)

    def stand_beside(self, plot: pg.PlotItem) -> None:
        """Take the place to the right of the plot's own area, as high as that."""
        plot.layout.addItem(self, 2, 5)
        plot.layout.setColumnFixedWidth(4, GAP)

    @staticmethod
    def leave_room(plot: pg.PlotItem) -> None:
        """Keep the same width free beside a plot without a scale, so that both line up."""
        plot.layout.setColumnFixedWidth(4, GAP)
        plot.layout.setColumnFixedWidth(5, BAR_WIDTH + AXIS_WIDTH)

    def show_levels(self, low: float, high: float) -> None:
        self.levels = (low, high)
        self.image.setRect(QRectF(0.0, low, 1.0, high - low))
        self.setXRange(0.0, 1.0, padding=0)
        self.setYRange(low, high, padding=0)

    def paint_theme(self, theme: Theme, table: ColourTable) -> None:
        ramp = np.arange(len(table), dtype=np.float32)[:, None]
        self.image.setImage(ramp, levels=(0.0, len(table) - 1.0), autoLevels=False, lut=table)
        self.show_levels(*self.levels)
        axis = self.getAxis("right")
        axis.setPen(pg.mkPen(theme.grid))
        axis.setTextPen(pg.mkPen(theme.muted))
