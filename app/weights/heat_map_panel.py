"""The heat map panel: the weight, and the error that a treatment makes, cell by cell."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QLabel, QVBoxLayout

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.weights.comparison import ComparisonChoice
from benchvise.app.weights.heat_map_plot import HeatMapPlot
from benchvise.app.weights.look_header import LookHeader, short_name
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import LookMap
from benchvise.core.protocol.results import LookedMap

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

CELL_STEP = 256
MAX_CELLS = 1024


class HeatMapPanel(PlotPanel):
    """Weight and error of the current layer side by side."""

    title = message("Heat map")
    icon = "mdi6.grid"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._choices_changed)
        self.comparison = ComparisonChoice(self.controls, document)
        self.shared = self.controls.check(
            tr("Same colours for both"),
            tr("Let the error's colours end where the weight's do, to see their proportion"),
        )
        self.note = QLabel(wordWrap=True)
        self.note.setMinimumWidth(1)
        self.note.setContentsMargins(8, 0, 8, 0)
        self.plot = HeatMapPlot()
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.header = LookHeader(self.controls)
        layout.addWidget(self.header)
        layout.addWidget(self.note)
        layout.addWidget(self.plot, 1)
        self._looked: LookedMap | None = None
        self._layer = ""
        self._asked_after: object = None
        document.selection_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self.refresh_soon)
        self.comparison.listen(self.refresh_soon)

    def refresh(self) -> None:
        layer = self.document.current
        if self.document.checkpoint is None or layer is None:
            self._looked = None
            self.say_empty(
                tr("Select a layer"),
                tr(
                    "Its weights appear here as a picture, and beside them the error that the planned treatment makes. "
                    "Blue is negative, orange positive; outlier rows and columns show as lines."
                ),
            )
            return
        self._ask(without_after=False)

    def _ask(self, *, without_after: bool) -> None:
        checkpoint, layer = self.document.checkpoint, self.document.current
        assert checkpoint is not None
        assert layer is not None
        index = self.document.selection[0]
        after = None if without_after else self.comparison.after(index)
        surgery = () if without_after else self.comparison.surgery()
        if not without_after:
            self.note.setText(self.comparison.remark(index))
        self._asked_after = self._compared_with(index)
        size = self.plot.canvas.size()
        cells = _cells(size.height()), _cells(size.width())
        request = LookMap(checkpoint.path, layer.name, after, *cells, self.document.workspace, surgery)

        def failed(_: int, event: Failed) -> None:
            if after is not None or surgery:
                self.note.setText(f"{event.what}. {event.remedy}".strip())
                self._ask(without_after=True)
            else:
                self.say_failed(event)

        self.question.ask([request], self._answered, failed)

    def _answered(self, _: int, looked: LookedMap) -> None:
        anew = looked.layer != self._layer
        self._looked, self._layer = looked, looked.layer
        self.note.setVisible(bool(self.note.text()))
        self.show_content()
        self.header.show_title(short_name(looked.layer), looked.layer)
        self._draw()
        if anew:
            self.plot.reset_zoom()

    def _compared_with(self, index: int) -> object:
        """What "after" is, and after which surgery."""
        return self.comparison.label(index), self.comparison.surgery()

    def _choices_changed(self) -> None:
        index = self.document.selection[0] if self.document.selection else None
        if index is None or self._compared_with(index) != self._asked_after:
            self.refresh_soon()
        else:
            self._draw()

    def _draw(self) -> None:
        if self._looked is not None:
            self.plot.show_maps(self._looked, shared=self.shared.isChecked())


def _cells(pixels: int) -> int:
    """About one cell per pixel, in steps so that a window that is being resized asks nothing new."""
    return min(MAX_CELLS, max(CELL_STEP, -(-pixels // CELL_STEP) * CELL_STEP))
