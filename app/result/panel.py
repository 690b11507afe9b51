"""Result panel: what the active run changed, which layers suffered most, and what now."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QAbstractItemView, QHBoxLayout, QHeaderView, QLabel, QPushButton, QVBoxLayout, QWidget

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.table import CopyableTable, RecordTable, TableColumn
from benchvise.app.result.figures import ChangeRow, change_rows, headline
from benchvise.app.state.setting_edits import with_setting
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.widgets.quality_meter import QualityMeter
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import LayerCompressed, RunSummary
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.settings import applicable
from benchvise.core.text import NOTHING, decibel_text, error_text, plural

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

WORST = 5
_FIGURES, _WIDEST = 7, 760
_BITS = (2, 3, 4, 5, 6, 8)
_ACTIONS = (
    ("evaluate", message("Evaluate"), message("Measure perplexity and divergence against the original")),
    ("latency", message("Measure latency"), message("Measure the decoding speed beside the original")),
    ("export", message("Export …"), message("Write the run as a checkpoint")),
)

_CHANGES: tuple[TableColumn[ChangeRow], ...] = (
    TableColumn("", lambda row: row.title, lambda row: row.title, message("What was measured"), numeric=False),
    TableColumn(message("Before"), lambda row: row.before, lambda row: row.before, message("Of the original")),
    TableColumn(message("After"), lambda row: row.after, lambda row: row.after, message("Of this run")),
    TableColumn(
        message("Change"), lambda row: row.change, lambda row: row.change, message("After ÷ before, or in words")
    ),
)
_LAYERS: tuple[TableColumn[LayerCompressed], ...] = (
    TableColumn(
        message("Most damaged layers"),
        lambda one: one.name,
        lambda one: one.name,
        message("By error of the output"),
        False,
    ),
    TableColumn(
        message("Treatment"),
        lambda one: one.treatment,
        lambda one: one.treatment,
        message("What the run did to it"),
        False,
    ),
    TableColumn(
        message("Output error"),
        lambda one: NOTHING if one.output_error is None else error_text(one.output_error),
        lambda one: one.output_error,
        message("Squared error of the outputs on calibration text, over their energy"),
    ),
    TableColumn(
        message("SQNR, dB"), lambda one: decibel_text(one.sqnr_db), lambda one: one.sqnr_db, message("Of the weight")
    ),
)


class ResultPanel(PlotPanel):
    """wanted: (action, run id) that the person asked for: "evaluate", "latency" or "export"."""

    title = message("Result")
    icon = "mdi6.clipboard-check-outline"
    wanted = Signal(str, str)

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.headline = QLabel()
        self.headline.setFont(scaled(self.font(), 1.25, bold=True))
        self.meter = QualityMeter()
        self.about = QLabel(wordWrap=True)
        self.about.setProperty("tone", "muted")
        self.changes = RecordTable(_CHANGES, self)
        self.layers = RecordTable(_LAYERS, self)
        self.better = QPushButton(tr("Give these {WORST} more bits", WORST=WORST))
        self.better.setToolTip(tr("Put the next greater number of bits into the recipe for them, as one undo step"))
        self.better.clicked.connect(self._give_more_bits)
        self._buttons: list[QPushButton] = []
        self._lay_out()
        document.active_run_changed.connect(self.refresh_soon)
        document.active_run_read.connect(self.refresh_soon)
        document.runs_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self.refresh_soon)

    def _lay_out(self) -> None:
        top = QHBoxLayout()
        top.setSpacing(UNIT)
        top.addWidget(self.meter)
        top.addWidget(self.headline, 1)
        buttons = QHBoxLayout()
        buttons.setSpacing(UNIT)
        for action, text, tip in _ACTIONS:
            button = QPushButton(tr(text))
            button.setToolTip(tr(tip))
            button.clicked.connect(lambda _=False, action=action: self.wanted.emit(action, self.document.active_run))
            if action == "export":
                button.setProperty("primary", "true")
            self._buttons.append(button)
            buttons.addWidget(button)
        buttons.addWidget(self.better)
        buttons.addStretch(1)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(16, 12, 16, 12)
        layout.setSpacing(UNIT)
        layout.addLayout(top)
        layout.addWidget(self.about)
        layout.addLayout(buttons)
        layout.addWidget(_table(self.changes, tr("What the run changed"), _FIGURES))
        layout.addSpacing(2 * UNIT)
        layout.addWidget(_table(self.layers, tr("Most damaged layers"), WORST))
        layout.addStretch(1)

    def refresh(self) -> None:
        run = self.document.active_summary()
        if run is None:
            self.say_empty(
                tr("No result yet"),
                tr(
                    "Choose treatments and press Run. What the run changed stands here, before and after, and which "
                    "layers suffered most."
                ),
            )
            return
        self.show_content()
        self.headline.setText(headline(run))
        self.meter.show_kl(run.kl_mean)
        self.about.setText(_about(run))
        self.changes.show(change_rows(run))
        self.layers.show(self._worst())
        self.better.setEnabled(bool(self._improvable()))

    def _worst(self) -> tuple[LayerCompressed, ...]:
        """The layers whose outputs, or else weights, came out farthest from the original."""
        results = self.document.results.values()
        return tuple(sorted(results, key=_harm, reverse=True)[:WORST])

    def _improvable(self) -> dict[int, Treatment]:
        """The worst layers with the recipe's treatment at the next greater number of bits, by index."""
        checkpoint = self.document.checkpoint
        if checkpoint is None:
            return {}
        worst = {one.source or one.name for one in self._worst()}
        found = {}
        for index, layer in enumerate(checkpoint.layers):
            if layer.name in worst:
                treatment = _better(self.document.treatment_of(index))
                if treatment is not None:
                    found[index] = treatment
        return found

    def _give_more_bits(self) -> None:
        found = self._improvable()
        title = tr("Give {layers} more bits", layers=plural(len(found), "layer"))
        self.document.treat(tuple(found), tuple(found.values()), title)


def _harm(one: LayerCompressed) -> tuple[float, float]:
    """Error of the outputs where it was measured, else noise of the weight; a layer without an error comes last."""
    noise = -one.sqnr_db if one.sqnr_db is not None else float("-inf")
    return (one.output_error if one.output_error is not None else -1.0), noise


def _better(treatment: Treatment) -> Treatment | None:
    """The same treatment with the next greater number of bits; None where its scheme has no bits to give."""
    counts = any(declared.name == "bits" for declared in applicable(treatment.scheme))
    bits = getattr(treatment.scheme, "bits", None) if counts else None
    greater = next((more for more in _BITS if isinstance(bits, int) and more > bits), None)
    return None if greater is None else replace(treatment, scheme=with_setting(treatment.scheme, "bits", greater))


def _about(run: RunSummary) -> str:
    name = run.recipe_name or tr("Own recipe")
    return f"{name} · {run.created.replace('T', ' ')[:16]} · {run.run}"


def _table(model: RecordTable[ChangeRow] | RecordTable[LayerCompressed], name: str, rows: int) -> QWidget:
    """As tall as its rows, and no wider than the eye follows a row."""
    table = CopyableTable()
    table.setModel(model)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setAccessibleName(name)
    table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    header = table.horizontalHeader()
    header.setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    table.setMaximumWidth(_WIDEST)
    table.setFixedHeight(rows * table.verticalHeader().defaultSectionSize() + header.sizeHint().height() + 4)
    return table
