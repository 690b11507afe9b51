"""How tuning goes: the loss of each step, and what samples that are not learned from say."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyqtgraph as pg
from PySide6.QtCore import QPointF, Qt

from benchvise.app.plots.axes import CountAxis, NumberAxis
from benchvise.app.plots.plot import Plot
from benchvise.app.plots.saving import Data
from benchvise.app.theme.theme import Theme
from benchvise.core.language import tr
from benchvise.core.protocol.results import TuningStep
from benchvise.core.text import kl_text, plural


class LossPlot(Plot):
    """Steps of all tunings of a job, one behind the other: the loss as a line, held-out KL as dots."""

    name = "loss"

    def __init__(self) -> None:
        super().__init__()
        self._steps: list[TuningStep] = []
        self._places: list[int] = []
        left = NumberAxis("left")
        self.plot = self.add_plot(0, 0, axes={"left": left, "bottom": CountAxis("bottom")})
        self.plot.showGrid(x=True, y=True, alpha=0.15)
        self._loss = pg.PlotCurveItem(connect="finite")
        self._held_out = pg.PlotDataItem(pxMode=True, symbol="o", symbolSize=8)
        self.plot.addItem(self._loss)
        self.plot.addItem(self._held_out)
        self.canvas.scene().sigMouseMoved.connect(self._hover)
        self.start()

    def show_steps(self, steps: Sequence[TuningStep]) -> None:
        """In the order in which they came; those of another tuning begin where the last one's end."""
        self._steps, self._places = list(steps), []
        before, last = 0, None
        for step in self._steps:
            if last is not None and step.method != last.method:
                before += last.steps
            self._places.append(before + step.step)
            last = step
        self.redraw_soon()

    def draw(self) -> None:
        self.plot.setLabel("bottom", tr("Step"), **self.plot.getAxis("bottom").labelStyle)
        self.plot.setLabel("left", tr("Loss, KL"), **self.plot.getAxis("left").labelStyle)
        losses = [step.loss if step.loss is not None else np.nan for step in self._steps]
        self._loss.setData(np.array(self._places, np.float64), np.array(losses, np.float64))
        held = [(at, step.held_out) for at, step in self._of_steps() if step.held_out is not None]
        self._held_out.setData([at for at, _ in held], [value for _, value in held])

    def paint_theme(self, theme: Theme) -> None:
        self._loss.setPen(pg.mkPen(theme.accent, width=1.5))
        self._held_out.setPen(pg.mkPen(theme.text, width=1, style=Qt.PenStyle.DashLine))
        self._held_out.setSymbolBrush(pg.mkBrush(theme.text))
        self._held_out.setSymbolPen(pg.mkPen(theme.panel))
        self.redraw_soon()

    def data(self) -> Data:
        return Data(
            ("tuning", "step", "loss", tr("held-out KL")),
            ((step.method, at, step.loss, step.held_out) for at, step in self._of_steps()),
        )

    def summary(self) -> str:
        losses = [step.loss for step in self._steps if step.loss is not None]
        held = [step.held_out for step in self._steps if step.held_out is not None]
        said = f"{plural(len(losses), 'step')}"
        if losses:
            said += tr(
                ", loss {losses} at first and {losses_2} now", losses=kl_text(losses[0]), losses_2=kl_text(losses[-1])
            )
        if held:
            said += tr("; held-out KL {held}", held=kl_text(held[0])) + (
                f" → {kl_text(held[-1])}" if len(held) > 1 else ""
            )
        return f"{said}."

    def _of_steps(self) -> list[tuple[int, TuningStep]]:
        return list(zip(self._places, self._steps, strict=True))

    def _hover(self, position: QPointF) -> None:
        view = self.plot.getViewBox()
        if not self._steps or not view.sceneBoundingRect().contains(position):
            self.readout.setText("")
            return
        at = float(view.mapSceneToView(position).x())
        place, step = min(self._of_steps(), key=lambda each: abs(each[0] - at))
        parts = [tr("{method}, step {place:,}", method=step.method, place=place)]
        parts += [tr("loss {loss}", loss=kl_text(step.loss))] if step.loss is not None else []
        parts += [tr("held-out KL {held_out}", held_out=kl_text(step.held_out))] if step.held_out is not None else []
        self.readout.setText(", ".join(parts))
