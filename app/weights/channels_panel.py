"""The channels panel: which rows and columns of a weight stand out."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtWidgets import QLabel, QVBoxLayout

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.weights.channels_plot import OUTLIER_FACTOR, ChannelsPlot
from benchvise.app.weights.look_header import LookHeader, short_name
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import LookChannels
from benchvise.core.protocol.results import LookedChannels

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document


class ChannelsPanel(PlotPanel):
    """Ranges per output and input channel of the current layer."""

    title = message("Channels")
    icon = "mdi6.chart-bell-curve-cumulative"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._draw)
        self.by_magnitude = self.controls.check(
            tr("Sort by magnitude"), tr("The channels of greatest magnitude first, instead of in their own order")
        )
        self.legend = QLabel(
            tr(
                "Band: least to greatest   Line: mean   ▲ more than {OUTLIER_FACTOR:g} times the median channel",
                OUTLIER_FACTOR=OUTLIER_FACTOR,
            ),
            wordWrap=True,
        )
        self.legend.setContentsMargins(12, 0, 12, 0)
        self.legend.setProperty("tone", "muted")
        self.plot = ChannelsPlot()
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.header = LookHeader(self.controls)
        layout.addWidget(self.header)
        layout.addWidget(self.legend)
        layout.addWidget(self.plot, 1)
        self._looked: LookedChannels | None = None
        document.selection_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self.refresh_soon)

    def refresh(self) -> None:
        checkpoint, layer = self.document.checkpoint, self.document.current
        if checkpoint is None or layer is None:
            self._looked = None
            self.say_empty(
                tr("Select a layer"),
                tr(
                    "The range of each of its output and input channels appears here. One scale for the whole tensor "
                    "serves well only while no channel is far wider than the others."
                ),
            )
            return
        self.question.ask([LookChannels(checkpoint.path, layer.name)], self._answered, self._failed)

    def _answered(self, _: int, looked: LookedChannels) -> None:
        self._looked = looked
        self.show_content()
        self.header.show_title(short_name(looked.layer), looked.layer)
        self._draw()

    def _failed(self, _: int, event: Failed) -> None:
        self.say_failed(event)

    def _draw(self) -> None:
        if self._looked is not None:
            self.plot.show_channels(self._looked, by_magnitude=self.by_magnitude.isChecked())
