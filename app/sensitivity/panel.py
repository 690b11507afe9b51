"""The sensitivity panel: the KL increase that each treatment of each layer alone causes at the model's output."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PySide6.QtCore import Slot
from PySide6.QtGui import QAction, QGuiApplication
from PySide6.QtWidgets import QLineEdit, QVBoxLayout

from benchvise.app.panel.plot_panel import NO_OUTPUT, PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.plots.saving import Data, tsv_of
from benchvise.app.sensitivity.choices import SensitivityChoices
from benchvise.app.sensitivity.plot import SensitivityPlot
from benchvise.app.sensitivity.table import Board, SensitivityTable, by_role, table_of
from benchvise.app.state.layer_filter import HELP, LayerFilter
from benchvise.app.state.sensitivity_results import ESTIMATED
from benchvise.app.widgets.labels import wrapped
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.results import Sensitivity
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.text import plural

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

BY_ORDER, BY_ROLE, BY_KL_INCREASE = "order", "role", "kl_increase"
BOTH, MAP, BARS, GRID = "both", "map", "bars", "grid"


class SensitivityPanel(PlotPanel):
    """A map of layers × treatments that fills while it is measured."""

    title = message("Sensitivity")
    icon = "mdi6.pulse"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._draw)
        self.shown = self.controls.choice(
            tr("Show"),
            tr("How the KL increases are laid out"),
            ((tr("Map and bars"), BOTH), (tr("Map"), MAP), (tr("Bars"), BARS), (tr("Depth × role"), GRID)),
        )
        self.order = self.controls.choice(
            tr("Sort by"),
            tr("The order of the layers from left to right"),
            ((tr("Depth"), BY_ORDER), (tr("Role"), BY_ROLE), (tr("KL increase"), BY_KL_INCREASE)),
        )
        self.filter_line = QLineEdit(placeholderText=tr("Filter layers"), clearButtonEnabled=True)
        self.filter_line.setAccessibleName(tr("Filter the map"))
        self.filter_line.setToolTip(tr("Words that must all hold: {help}", help=tr(HELP)))
        self.filter_line.setMinimumWidth(96)
        self.filter_line.textChanged.connect(self._draw)
        self.controls.row.addWidget(self.filter_line)
        self.choices = SensitivityChoices()
        self.choices.measure.connect(self.measure_or_cancel)
        self.measure = self.choices.button
        self.empty.button.clicked.connect(self.ask_measurement)
        self.note = wrapped("muted")
        self.note.setContentsMargins(8, 0, 8, 0)
        self.note.hide()
        self.plot = SensitivityPlot()
        self.plot.layer_clicked.connect(self._select_layer)
        self.plot.treatment_chosen.connect(self._choose)
        self.plot.cell_activated.connect(self._apply)
        self.plot.extra_actions = self._layer_actions
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(6)
        for widget in (self.controls, self.choices, self.note):
            layout.addWidget(widget)
        layout.addWidget(self.plot, 1)
        self._chosen = ""
        self._failure = ""
        document.sensitivity_changed.connect(self.refresh_soon)
        document.measuring_changed.connect(self._show_measuring)
        document.checkpoint_changed.connect(self._checkpoint_changed)
        document.recipe_changed.connect(self._offer)
        document.selection_changed.connect(self._draw)

    def refresh(self) -> None:
        document = self.document
        if document.checkpoint is None:
            self.say_empty(tr("No checkpoint is open"), tr("Open one to find out which of its layers are fragile."))
        elif not document.checkpoint.architecture:
            self.say_empty(tr("Sensitivity cannot be measured here"), tr(NO_OUTPUT))
        elif not document.sensitivity and not document.measuring:
            layers = sum(layer.kind == "linear" for layer in document.checkpoint.layers)
            self.empty.say(
                tr("Which layers are fragile?") if not self._failure else tr("Sensitivity could not be measured"),
                self._failure
                or tr(
                    "Each of the {layers} linear layers is treated alone, and the divergence at the model's "
                    "output is measured on a short text: one short forward pass per layer and treatment. The "
                    "map fills as it goes, can be cancelled, and is kept in the workspace.",
                    layers=layers,
                ),
                tr("Measure sensitivity"),
            )
            self.show_empty()
        else:
            self.show_content()
            self._draw()

    def measure_or_cancel(self) -> None:
        """What the button does: while it is measured, cancel; what is there stays."""
        if self.document.measuring:
            self.document.stop_measuring()
        else:
            self.ask_measurement()

    def ask_measurement(self) -> None:
        """Measure the chosen treatments; what the workspace knows already is not measured again."""
        checkpoint = self.document.checkpoint
        if checkpoint is None or not self.chosen_treatments() or self.document.measuring:
            return
        self._failure = ""
        request = self.choices.request(checkpoint.path, self.document.workspace)
        self.question.ask([request], self._measured, self._not_measured, self._ended)
        self.refresh()

    def chosen_treatments(self) -> tuple[Treatment, ...]:
        return self.choices.chosen()

    def table(self) -> SensitivityTable | None:
        """What is known, in the order that is chosen, of the layers that the filter leaves."""
        checkpoint, cells = self.document.checkpoint, self.document.sensitivity
        if checkpoint is None:
            return None
        known = {cell.key: cell.treatment for cell in cells.values()}
        if self.question.pending:
            known |= {treatment.key: treatment.tag for treatment in self.chosen_treatments()}
        keys = [treatment.key for treatment in self.choices.offered() if treatment.key in known]
        keys += sorted(known.keys() - set(keys), key=known.__getitem__)
        if self._chosen not in keys:
            self._chosen = keys[0] if keys else ""
        rows = [(key, known[key]) for key in keys]
        touched = {name for name, _ in cells}
        kept = self._kept()
        layers = [
            layer
            for layer in checkpoint.layers
            if (layer.kind == "linear" or layer.name in touched) and (kept is None or layer.name in kept)
        ]
        return table_of(cells, [(layer.name, _label(layer)) for layer in self._sorted(layers)], rows)

    def _kept(self) -> set[str] | None:
        """Names of the layers that the filter leaves; None for all of them."""
        checkpoint, plan, text = self.document.checkpoint, self.document.plan, self.filter_line.text().strip()
        self.filter_line.setToolTip(tr("Words that must all hold: {help}", help=tr(HELP)))
        if checkpoint is None or not text:
            return None
        try:
            tags = (plan.tags, plan.choice) if plan is not None else None
            mask = LayerFilter(checkpoint.layers).mask(text, tags)
        except ValueError as error:
            self.filter_line.setToolTip(str(error))
            return None
        return {layer.name for layer, kept in zip(checkpoint.layers, mask, strict=True) if kept}

    def _sorted(self, layers: list[Layer]) -> list[Layer]:
        order, cells = self.order.currentData(), self.document.sensitivity
        if order == BY_ROLE:
            return sorted(layers, key=lambda layer: (layer.role, -1 if layer.depth is None else layer.depth))
        if order == BY_KL_INCREASE:

            def kl_increase(layer: Layer) -> float:
                cell = cells.get((layer.name, self._chosen))
                return -1.0 if cell is None else cell.kl

            return sorted(layers, key=kl_increase, reverse=True)
        return layers

    @Slot()
    def _draw(self) -> None:
        if not self.shows_content:
            return
        shown, current = self.shown.currentData(), self.document.current
        table = self.table()
        self.order.setEnabled(shown != GRID)
        self.plot.show_parts(map_shown=shown != BARS, bars_shown=shown in (BOTH, BARS))
        self.plot.show_table(
            table,
            chosen=self._chosen,
            current=current.name if current else "",
            board=self._grid(table) if shown == GRID and table is not None else None,
        )
        self._say_note(table)

    def _grid(self, table: SensitivityTable) -> Board:
        assert self.document.checkpoint is not None
        places = {layer.name: (layer.role, layer.depth) for layer in self.document.checkpoint.layers}
        return by_role(table, self._chosen, places.__getitem__)

    def _say_note(self, table: SensitivityTable | None) -> None:
        """What the marks mean where there are any, and how far forecasts can be trusted."""
        cells = self.document.sensitivity.values()
        said = []
        if self.shown.currentData() == GRID and table is not None and self._chosen in table.keys:
            said.append(
                tr("Every layer alone as {treatments}.", treatments=table.treatments[table.keys.index(self._chosen)])
            )
        if any(cell.method == ESTIMATED for cell in cells):
            last = self.document.measurement.sensitivity if self.document.measurement is not None else None
            said.append(tr("Hatched: estimated, not measured."))
            if last is not None and last.rank_correlation is not None:
                compared = plural(last.compared, tr("measured cell"))
                said.append(
                    tr(
                        "Rank correlation with {compared}: {rank_correlation:.2f}.",
                        compared=compared,
                        rank_correlation=last.rank_correlation,
                    )
                )
        if any(cell.kl == float("inf") for cell in cells):
            said.append(tr("×: the model's outputs are no numbers any more."))
        self.note.setText(" ".join(said))
        self.note.setVisible(bool(said))

    def _choose(self, treatment: str) -> None:
        self._chosen = treatment
        self._draw()

    def _select_layer(self, name: str) -> None:
        checkpoint = self.document.checkpoint
        if checkpoint is not None:
            self.document.select([index for index, layer in enumerate(checkpoint.layers) if layer.name == name])

    def _treatment(self, key: str) -> Treatment | None:
        """The treatment behind a row of the map; None for one that is offered no longer."""
        last = self.document.measurement
        known = (*self.choices.offered(), *(last.treatments if last is not None else ()))
        return next((treatment for treatment in known if treatment.key == key), None)

    def _apply(self, layer: str, key: str) -> None:
        """Put the treatment of a cell in place."""
        treatment = self._treatment(key)
        self._select_layer(layer)
        if treatment is not None and self.document.selection:
            self.document.treat(
                self.document.selection[:1], [treatment], tr("Set {layer} to {tag}", layer=layer, tag=treatment.tag)
            )

    def _layer_actions(self, layer: str, key: str) -> tuple[QAction, ...]:
        """What the context menu offers for a cell."""
        treatment, table = self._treatment(key), self.table()
        tag = table.treatments[table.keys.index(key)] if table is not None and key in table.keys else ""
        apply = QAction(tr("Apply {tag} to this layer", tag=tag))
        apply.setEnabled(treatment is not None)
        apply.triggered.connect(lambda: self._apply(layer, key))
        try_out = QAction(tr("What if? Try {tag} on this layer", tag=tag))
        try_out.setEnabled(treatment is not None)

        def look() -> None:
            self._select_layer(layer)
            self.document.try_out(treatment)

        try_out.triggered.connect(look)
        copy = QAction(tr("Copy as table"))
        copy.triggered.connect(self._copy_table)
        return apply, try_out, copy

    def _copy_table(self) -> None:
        """One row per layer, one column per treatment: what a spreadsheet wants."""
        table = self.table()
        if table is not None:
            rows = ((layer, *table.kl[:, column]) for column, layer in enumerate(table.layers))
            QGuiApplication.clipboard().setText(tsv_of(Data(("layer", *table.treatments), rows)))

    def _offer(self) -> None:
        self.choices.offer(self.document.recipe)

    def _measured(self, _: int, __: Sensitivity) -> None:
        self._ended()

    def _not_measured(self, _: int, event: Failed) -> None:
        self._failure = f"{event.what}. {event.remedy}".strip()
        self._ended()

    def _show_measuring(self) -> None:
        """Wherever it was begun."""
        self.choices.show_measuring(self.document.measuring)
        self.refresh_soon()

    def _ended(self) -> None:
        self.refresh_soon()

    def _checkpoint_changed(self) -> None:
        self.question.drop()
        self._failure = ""
        self.filter_line.clear()
        self._ended()


def _label(layer: Layer) -> str:
    """Short for the axis: "3 attention.q"."""
    return layer.role if layer.depth is None else f"{layer.depth} {layer.role}"
