"""The sensitivity panel: the damage each treatment of each layer alone does at the model's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QMenu, QPushButton, QVBoxLayout

from app.plots.controls import Controls
from app.plots.plot_panel import PlotPanel
from app.plots.saving import Data, tsv_of
from app.plots.sensitivity_plot import SensitivityPlot, SensitivityTable, table_of
from core.checkpoint.records import Layer
from core.methods.integer import Integer
from core.methods.sparse import Sparse
from core.protocol.events import Failed
from core.protocol.requests import MeasureSensitivity
from core.protocol.results import Sensitivity
from core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from app.document import Document
    from app.worker import EngineClient

BY_ORDER, BY_ROLE, BY_DAMAGE = "order", "role", "damage"


def _group(bits: int, size: int) -> Treatment:
    return Treatment(Integer(bits=bits, group_size=size, indivisible="divisor"))


OFFERED: tuple[Treatment, ...] = (
    Treatment(Integer(bits=8, granularity="channel")),
    Treatment(Integer(bits=4, granularity="channel")),
    _group(4, 128),
    _group(4, 32),
    _group(3, 64),
    _group(2, 32),
    Treatment(Sparse(fraction=0.5)),
)
AT_FIRST = ("int8 channel", "int4 g128", "int3 g64")
"""The treatments that are measured unless others are chosen."""


class SensitivityPanel(PlotPanel):
    """A map of layers × treatments that fills while it is measured."""

    title = "Sensitivity"
    icon = "mdi6.pulse"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._draw)
        self.order = self.controls.choice(
            "Sort by",
            "The order of the layers from left to right",
            (("Depth", BY_ORDER), ("Role", BY_ROLE), ("Damage", BY_DAMAGE)),
        )
        self.controls.end()
        self.treatments = QPushButton("Treatments")
        self.treatments.setToolTip("Which treatments are measured")
        self.treatments.setMenu(self._treatment_menu())
        self.controls.row.addWidget(self.treatments)
        self.measure = QPushButton("Measure sensitivity")
        self.measure.clicked.connect(self.ask_measurement)
        self.controls.row.addWidget(self.measure)
        self.empty.button.clicked.connect(self.ask_measurement)
        self.plot = SensitivityPlot()
        self.plot.layer_clicked.connect(self._select_layer)
        self.plot.treatment_chosen.connect(self._choose)
        self.plot.extra_actions = self._layer_actions
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(2)
        layout.addWidget(self.controls)
        layout.addWidget(self.plot, 1)
        self._chosen = ""
        self._failure = ""
        document.sensitivity_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self._checkpoint_changed)
        document.selection_changed.connect(self._draw)

    def refresh(self) -> None:
        document = self.document
        if document.checkpoint is None:
            self.say_empty("No checkpoint is open", "Open one to find out which of its layers are fragile.")
        elif not document.sensitivity and not self.question.pending:
            layers = sum(layer.kind == "linear" for layer in document.checkpoint.layers)
            self.empty.say(
                "Which layers are fragile?" if not self._failure else "Sensitivity could not be measured",
                self._failure
                or f"Each of the {layers} linear layers is treated alone, and the divergence at the model's output is "
                "measured on a short text: one short forward pass per layer and treatment. The map fills as it goes, "
                "can be cancelled, and is kept in the workspace.",
                "Measure sensitivity",
            )
            self.show_empty()
        else:
            self.show_content()
            self._draw()

    def ask_measurement(self) -> None:
        """Measure the chosen treatments; what the workspace knows already is not measured again."""
        checkpoint = self.document.checkpoint
        chosen = self.chosen_treatments()
        if checkpoint is None or not chosen or self.question.pending:
            return
        self._failure = ""
        request = MeasureSensitivity(checkpoint.path, "", chosen, workspace=self.document.workspace)
        self.question.ask([request], self._measured, self._not_measured, self._ended)
        self.measure.setEnabled(False)
        self.refresh()

    def chosen_treatments(self) -> tuple[Treatment, ...]:
        return tuple(t for t, action in zip(OFFERED, self._choices, strict=True) if action.isChecked())

    def table(self) -> SensitivityTable | None:
        """What is known, in the order that is chosen."""
        checkpoint, cells = self.document.checkpoint, self.document.sensitivity
        if checkpoint is None:
            return None
        known = {tag for _, tag in cells}
        if self.question.pending:
            known |= {treatment.tag for treatment in self.chosen_treatments()}
        tags = [treatment.tag for treatment in OFFERED if treatment.tag in known]
        tags += sorted(known - set(tags))
        if self._chosen not in tags:
            self._chosen = tags[0] if tags else ""
        touched = {name for name, _ in cells}
        layers = [layer for layer in checkpoint.layers if layer.kind == "linear" or layer.name in touched]
        return table_of(cells, [(layer.name, _label(layer)) for layer in self._sorted(layers)], tags)

    def _sorted(self, layers: list[Layer]) -> list[Layer]:
        order, cells = self.order.currentData(), self.document.sensitivity
        if order == BY_ROLE:
            return sorted(layers, key=lambda layer: (layer.role, -1 if layer.depth is None else layer.depth))
        if order == BY_DAMAGE:

            def damage(layer: Layer) -> float:
                cell = cells.get((layer.name, self._chosen))
                return -1.0 if cell is None else cell.kl

            return sorted(layers, key=damage, reverse=True)
        return layers

    @Slot()
    def _draw(self) -> None:
        if self.shows_content:
            current = self.document.current
            table = self.table()
            self.plot.show_table(table, chosen=self._chosen, current=current.name if current else "")

    def _choose(self, treatment: str) -> None:
        self._chosen = treatment
        self._draw()

    def _select_layer(self, name: str) -> None:
        checkpoint = self.document.checkpoint
        if checkpoint is not None:
            self.document.select([index for index, layer in enumerate(checkpoint.layers) if layer.name == name])

    def _layer_actions(self, layer: str, treatment: str) -> tuple[QAction, ...]:
        """What the context menu offers for a cell."""
        found = next((offered for offered in OFFERED if offered.tag == treatment), None)
        apply = QAction(f"Apply {treatment} to this layer")
        apply.setEnabled(found is not None)

        def treat() -> None:
            self._select_layer(layer)
            if found is not None and self.document.selection:
                self.document.treat(self.document.selection[:1], [found], f"Set {layer} to {treatment}")

        apply.triggered.connect(treat)
        copy = QAction("Copy as table")
        copy.triggered.connect(self._copy_table)
        return apply, copy

    def _copy_table(self) -> None:
        """One row per layer, one column per treatment: what a spreadsheet wants."""
        table = self.table()
        if table is not None:
            rows = ((layer, *table.kl[:, column]) for column, layer in enumerate(table.layers))
            QGuiApplication.clipboard().setText(tsv_of(Data(("layer", *table.treatments), rows)))

    def _measured(self, _: int, __: Sensitivity) -> None:
        self._ended()

    def _not_measured(self, _: int, event: Failed) -> None:
        self._failure = f"{event.what}. {event.remedy}".strip()
        self._ended()

    def _ended(self) -> None:
        self.measure.setEnabled(True)
        self.refresh_soon()

    def _checkpoint_changed(self) -> None:
        self.question.drop()
        self._failure = ""
        self._ended()

    def _treatment_menu(self) -> QMenu:
        menu = QMenu(self)
        self._choices = []
        for treatment in OFFERED:
            action = menu.addAction(treatment.tag)
            action.setCheckable(True)
            action.setChecked(treatment.tag in AT_FIRST)
            self._choices.append(action)
        return menu


def _label(layer: Layer) -> str:
    """Short for the axis: "3 attention.q"."""
    return layer.role if layer.depth is None else f"{layer.depth} {layer.role}"
