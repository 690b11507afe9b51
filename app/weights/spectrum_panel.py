"""The spectrum panel: how much of a weight a rank keeps, and what it weighs and costs."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtWidgets import QHBoxLayout, QLabel, QPushButton, QSpinBox, QVBoxLayout

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.weights.look_header import Chip, LookHeader, short_name
from benchvise.app.weights.spectrum_plot import SpectrumPlot
from benchvise.core.language import message, tr
from benchvise.core.methods.low_rank import LowRank
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import LookSpectrum
from benchvise.core.protocol.results import LookedSpectrum
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.text import byte_text, kl_text, whole_text

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

ENERGY = 0.9
"""That the rank which is shown first keeps, where it pays."""

WINDOWS = 8
"""Of the recipe's text, that an estimate reads at most."""


class SpectrumPanel(PlotPanel):
    """Singular values of the current layer, and a rank to drag."""

    title = message("Spectrum")
    icon = "mdi6.chart-line-variant"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self.refresh_soon)
        self.estimate = self.controls.check(
            tr("Estimate the KL"),
            tr("What each rank adds to the divergence, by one backward pass of the whole network on the recipe's text"),
        )
        self.plot = SpectrumPlot()
        self.plot.rank_moved.connect(self._tell)
        self.spin = QSpinBox(minimum=1)
        self.spin.setAccessibleName(tr("Rank"))
        self.spin.valueChanged.connect(self._typed)
        self.use_button = QPushButton(tr("Use this rank"))
        self.use_button.setToolTip(tr("Give the layer factors of this rank, found at its outputs"))
        self.use_button.clicked.connect(self._use)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        self.header = LookHeader(self.controls)
        layout.addWidget(self.header)
        layout.addWidget(self.plot, 1)
        row = QHBoxLayout()
        row.setContentsMargins(12, 4, 12, 8)
        row.setSpacing(8)
        row.addStretch(1)
        row.addWidget(QLabel(tr("Rank")))
        row.addWidget(self.spin)
        row.addWidget(self.use_button)
        layout.addLayout(row)
        self._looked: LookedSpectrum | None = None
        document.selection_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self.refresh_soon)

    def refresh(self) -> None:
        checkpoint, layer = self.document.checkpoint, self.document.current
        if checkpoint is None or layer is None:
            self._looked = None
            self.say_empty(
                tr("Select a layer"),
                tr(
                    "Its singular values appear here. A weight whose values fall fast is nearly the product of two "
                    "thin factors, which take less room and fewer multiplications."
                ),
            )
            return
        calibration = self.document.recipe.calibration
        few = replace(calibration, windows=min(WINDOWS, calibration.windows))
        asked = LookSpectrum(checkpoint.path, layer.name, self.estimate.isChecked(), few)
        self.question.ask([asked], self._answered, self._failed)

    def _answered(self, _: int, looked: LookedSpectrum) -> None:
        same = self._looked is not None and self._looked.layer == looked.layer
        rank = self.plot.rank if same else max(1, min(looked.rank_of(ENERGY), looked.largest))
        self._looked = looked
        self.show_content()
        self.header.show_title(short_name(looked.layer), looked.layer)
        self.plot.show_spectrum(looked, rank)
        self._tell(rank)

    def _failed(self, _: int, event: Failed) -> None:
        self.say_failed(event)

    def _typed(self, rank: int) -> None:
        if self._looked is not None and rank != self.plot.rank:
            self.plot.show_spectrum(self._looked, rank)
            self._tell(rank)

    def _tell(self, rank: int) -> None:
        looked = self._looked
        if looked is None:
            return
        self.spin.setMaximum(len(looked.values))
        self.spin.setValue(rank)
        self.use_button.setEnabled(rank <= looked.largest)
        self.header.show_chips(_chips(looked, rank))

    def _use(self) -> None:
        layer, document = self.document.current, self.document
        if layer is None or self._looked is None or self._looked.layer != layer.name:
            return
        treatment = Treatment(LowRank(criterion="rank", rank=self.plot.rank), WhitenedSvd())
        name, tag = layer.name, treatment.tag
        document.treat(document.selection[:1], [treatment], tr("Set {name} to {tag}", name=name, tag=tag))


def _chips(looked: LookedSpectrum, rank: int) -> list[Chip]:
    """What a rank means, as figures."""
    nbytes = byte_text(rank * looked.of_rank)
    chips = [
        Chip(tr("Rank"), whole_text(rank), tr("Columns of the first factor and rows of the second.")),
        Chip(tr("Energy"), f"{looked.energy[rank]:.1%}", tr("Of the squares of all singular values, what is kept.")),
        Chip(tr("Size"), nbytes, tr("Exact bytes of both factors in the layer's dtype.")),
    ]
    if looked.kl is not None:
        chips.append(Chip("KL", f"+ ≈ {kl_text(float(looked.kl[rank]))}", tr("Estimated from the spectrum.")))
    same = looked.same_bytes(rank)
    if same is not None:
        chips.append(
            Chip(
                tr("Same bytes in bits"),
                f"{same.tag}: + ≈ {kl_text(same.kl)}",
                tr("What the most bits that fit into these bytes would add to the KL instead."),
            )
        )
    chips.append(
        Chip(
            tr("Effective rank"),
            f"{looked.effective_rank:.1f}",
            tr("How many equal singular values would be spread as widely."),
        )
    )
    if rank > looked.largest:
        chips.insert(
            1,
            Chip(
                tr("Does not pay"),
                f"> {whole_text(looked.largest)}",
                tr("The factors would not be smaller than the layer; the largest rank that pays is shown."),
            ),
        )
    return chips
