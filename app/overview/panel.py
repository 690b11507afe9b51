"""Overview panel: the whole network at once, coloured by what one wants to know."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from PySide6.QtWidgets import QLabel, QVBoxLayout

from benchvise.app.overview.grid import NetworkGrid, cell_values, network_grid
from benchvise.app.overview.plot import OverviewPlot
from benchvise.app.overview.quantities import QUANTITIES, Quantity, parameters
from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.core.language import message, tr

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

MAX_LAYERS = 20_000
"""More rectangles than pixels tell nothing."""


class OverviewPanel(PlotPanel):
    """Selecting a cell selects its layers, and the other way round."""

    title = message("Overview")
    icon = "mdi6.view-grid-outline"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self.refresh)
        entries = [(tr(quantity.title), number) for number, quantity in enumerate(QUANTITIES)]
        self.quantity = self.controls.choice(tr("Colour"), tr("What the colours tell"), entries)
        self.note = QLabel(wordWrap=True)
        self.note.setContentsMargins(12, 0, 12, 0)
        self.note.setProperty("tone", "muted")
        self.plot = OverviewPlot()
        self.plot.cell_clicked.connect(self._select)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addWidget(self.controls)
        layout.addWidget(self.note)
        layout.addWidget(self.plot, 1)
        self._grid: NetworkGrid | None = None
        document.checkpoint_changed.connect(self._forget)
        for signal in (document.plan_changed, document.sensitivity_changed, document.results_changed):
            signal.connect(self.refresh_soon)
        document.selection_changed.connect(self._follow_selection)

    def refresh(self) -> None:
        checkpoint = self.document.checkpoint
        if checkpoint is None:
            self.say_empty(tr("No checkpoint is open"), tr("The whole network appears here at once: blocks and roles."))
            return
        if len(checkpoint.layers) > MAX_LAYERS:
            self.say_empty(
                tr("Too many layers for one picture"),
                tr("It shows up to {MAX_LAYERS:,} of them.", MAX_LAYERS=MAX_LAYERS),
            )
            return
        if self._grid is None:
            self._grid = network_grid(checkpoint.layers)
        quantity: Quantity = QUANTITIES[int(self.quantity.currentData())]
        values = quantity.values(self.document)
        cells = cell_values(self._grid, values, parameters(self.document), worst=quantity.worst)
        unknown = bool(np.isnan(cells).all())
        self.note.setText(
            tr(quantity.missing) if unknown else tr("{help}. Height: bytes. Click selects.", help=tr(quantity.help))
        )
        self.show_content()
        self.plot.show_cells(
            self._grid, cells, title=tr(quantity.title), text=quantity.text, logarithmic=quantity.logarithmic
        )
        self._follow_selection()

    def _forget(self) -> None:
        self._grid = None
        self.refresh_soon()

    def _select(self, cell: int, added: bool) -> None:
        if self._grid is not None:
            chosen = self._grid.cells[cell].layers
            self.document.select((*self.document.selection, *chosen) if added else chosen)

    def _follow_selection(self) -> None:
        grid = self._grid
        if grid is None or not self.isVisible():
            return
        selected = set(self.document.selection)
        chosen = (place for place, cell in enumerate(grid.cells) if selected.intersection(cell.layers))
        self.plot.show_chosen(frozenset(chosen))
