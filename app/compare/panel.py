"""Compare panel: sizes, times and quality of the runs, as a table and as points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from PySide6.QtCore import QItemSelection, QItemSelectionModel, QSortFilterProxyModel, Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import (
    QAbstractItemView,
    QCheckBox,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QPushButton,
    QSplitter,
    QVBoxLayout,
)

from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.controls import Controls
from benchvise.app.plots.pareto_plot import ParetoPlot, Point
from benchvise.app.plots.table import VALUE_ROLE, CopyableTable, RecordTable, TableColumn
from benchvise.app.text.track_record import TITLES, quantity_text, summary_text
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Comparison, RunSummary
from benchvise.core.text import NOTHING, byte_text, kl_text, number_text, percent_text
from benchvise.core.workspace.forecasts import track_record

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

EVALUATE, LATENCY, EXPORT = "evaluate", "latency", "export"

ColumnValue = Callable[[RunSummary], float | None]


def _number(title: str, value: ColumnValue, text: Callable[[float], str], tip: str) -> TableColumn[RunSummary]:
    def shown(run: RunSummary) -> str:
        found = value(run)
        return NOTHING if found is None else text(found)

    return TableColumn(title, shown, value, tip)


def _word(title: str, value: Callable[[RunSummary], str], tip: str) -> TableColumn[RunSummary]:
    return TableColumn(title, value, value, tip, numeric=False)


COLUMNS: tuple[TableColumn[RunSummary], ...] = (
    _word(message("Run"), lambda run: run.recipe_name or run.run, message("The recipe's name")),
    _word(message("Model"), lambda run: Path(run.checkpoint).name, message("The checkpoint that was compressed")),
    _word(message("State"), lambda run: tr(run.state), message("How far the run came")),
    _word(message("Made"), lambda run: run.created.replace("T", " ")[:16], message("When the run was started")),
    _number(
        message("Bits overall"),
        lambda run: run.bits_per_weight,
        lambda v: f"{v:.2f}",
        message("Bits per weight, over all weights"),
    ),
    _number(message("Size"), lambda run: run.bytes_after, byte_text, message("Bytes after")),
    _number(
        message("Of original"),
        lambda run: _ratio(run.bytes_after, run.bytes_before),
        percent_text,
        message("Size after ÷ before"),
    ),
    _number(message("Perplexity"), lambda run: run.perplexity, number_text, message("On the evaluation text")),
    _number(
        message("Perplexity before"),
        lambda run: run.perplexity_before,
        number_text,
        message("Perplexity of the original on the same text"),
    ),
    _number(
        message("KL mean"),
        lambda run: run.kl_mean,
        kl_text,
        message("Mean divergence from the original, nats per token"),
    ),
    _number(
        message("KL p99"), lambda run: run.kl_p99, kl_text, message("99th percentile of the divergence, nats per token")
    ),
    _number(
        message("Same top token"),
        lambda run: run.top1_agreement,
        percent_text,
        message("How often both predict the same token"),
    ),
    _number(
        message("Decode, ms"), lambda run: run.decode_ms, number_text, message("Milliseconds per decoded token, median")
    ),
    _number(
        message("Decode before, ms"),
        lambda run: run.decode_ms_before,
        number_text,
        message("The same of the original, interleaved"),
    ),
    _number(message("Speed-up"), lambda run: run.speed_up, lambda v: f"× {v:.2f}", message("Original ÷ compressed")),
    _number(
        message("Decode memory"),
        lambda run: run.decode_peak_bytes,
        byte_text,
        message("Most that loading and decoding added"),
    ),
    _number(
        message("Decode memory before"),
        lambda run: run.decode_peak_bytes_before,
        byte_text,
        message("The same of the original"),
    ),
    _number(
        message("Peak memory"),
        lambda run: run.peak_rss_bytes,
        byte_text,
        message("Resident memory of the evaluation at its peak"),
    ),
)

COSTS: tuple[tuple[str, ColumnValue], ...] = (
    (message("Size, MB"), lambda run: run.bytes_after / 1e6),
    (message("Bits per weight, overall"), lambda run: run.bits_per_weight),
    (message("Decode, ms per token"), lambda run: run.decode_ms),
)
KL_INCREASES: tuple[tuple[str, ColumnValue], ...] = (
    (message("KL mean, nats per token"), lambda run: run.kl_mean),
    (message("KL p99, nats per token"), lambda run: run.kl_p99),
    (message("Perplexity"), lambda run: run.perplexity),
)


@dataclass(frozen=True)
class Track:
    """A row of the track record: one forecast of one run."""

    run: RunSummary
    comparison: Comparison


def _quantity(
    title: str, value: Callable[[Comparison], float], tip: str, *, forecast: bool = False
) -> TableColumn[Track]:
    def shown(track: Track) -> str:
        found = quantity_text(track.comparison.kind, value(track.comparison))
        return f"≈ {found}" if forecast else found

    return TableColumn(title, shown, lambda track: value(track.comparison), tip)


TRACK_COLUMNS: tuple[TableColumn[Track], ...] = (
    TableColumn(
        message("Run"),
        lambda t: t.run.recipe_name or t.run.run,
        lambda t: t.run.recipe_name,
        message("The recipe's name"),
        False,
    ),
    TableColumn(
        message("What"),
        lambda t: tr(TITLES[t.comparison.kind]),
        lambda t: t.comparison.kind,
        message("What was forecast"),
        False,
    ),
    _quantity(message("Forecast"), lambda c: c.forecast.value, message("As it was said before the run"), forecast=True),
    _quantity(message("From"), lambda c: c.forecast.low, message("The range that was forecast")),
    _quantity(message("To"), lambda c: c.forecast.high, message("The range that was forecast")),
    _quantity(message("Measured"), lambda c: c.measured, message("On the finished run")),
    TableColumn(
        message("Error"),
        lambda t: f"{t.comparison.error:+.1%}".replace("%", " %"),
        lambda t: abs(t.comparison.error),
        message("Forecast ÷ measured − 1; sorted by size"),
    ),
    TableColumn(
        message("In range"),
        lambda t: tr("yes") if t.comparison.inside else tr("no"),
        lambda t: "yes" if t.comparison.inside else "no",
        message("Whether the measured lies within the range that was forecast"),
        False,
    ),
)

NO_RECORD = message(
    "Nothing was forecast before a run yet. Forecast the decode speed, allocate a budget or check a recipe before "
    "Run, and what comes of it will stand here."
)


class ComparePanel(PlotPanel):
    """wanted: (action, run id) that the person asked for: "evaluate", "latency" or "export"."""

    title = message("Compare")
    icon = "mdi6.scale-balance"
    wanted = Signal(str, str)

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = Controls(self._draw)
        self.cost = self.controls.choice(tr("Over"), tr("What goes to the right"), COSTS)
        self.kl_increase = self.controls.choice(tr("Show"), tr("What goes up"), KL_INCREASES)
        self.logarithmic = self.controls.check(tr("Log scale"), tr("The upward axis in powers of ten"), on=True)
        self.all_models = self.controls.check(
            tr("All models"), tr("List the runs of other checkpoints, too; the plot shows none")
        )
        self.all_models.toggled.connect(lambda _: self.refresh_soon())
        self.empty.button.clicked.connect(lambda: self.all_models.setChecked(True))
        self.track_record = QCheckBox(tr("Track record"))
        self.track_record.setToolTip(tr("What was forecast before each run, beside what was measured on it"))
        self.track_record.toggled.connect(lambda _: self._draw())
        self._button_row = QHBoxLayout()
        self._button_row.setContentsMargins(8, 6, 8, 4)
        self._button_row.setSpacing(8)
        self.buttons = {
            action: self._button(text, tip, action)
            for action, text, tip in (
                (
                    EVALUATE,
                    tr("Evaluate"),
                    tr("Measure perplexity and divergence of the active run against the original"),
                ),
                (
                    LATENCY,
                    tr("Measure latency"),
                    tr("Measure the decoding speed of the active run beside the original"),
                ),
                (EXPORT, tr("Export…"), tr("Write the active run as a checkpoint")),
            )
        }
        self.model = RecordTable(COLUMNS, self)
        self.sorted = QSortFilterProxyModel(self)
        self.sorted.setSourceModel(self.model)
        self.sorted.setSortRole(VALUE_ROLE)
        self.table = CopyableTable()
        self.table.setModel(self.sorted)
        self.table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.table.setSortingEnabled(True)
        self.table.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.table.setAccessibleName(tr("Runs"))
        self.table.insertActions(self.table.actions()[0], self._table_actions())
        self.table.selectionModel().selectionChanged.connect(self._row_selected)
        self.plot = ParetoPlot()
        self.plot.run_clicked.connect(self.document.set_active_run)
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.table)
        split.addWidget(self.plot)
        self.split = split
        self._make_track_record()
        split.setStretchFactor(0, 2)
        split.setStretchFactor(1, 3)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        self._button_row.addStretch(1)
        self._button_row.addWidget(self.track_record)
        layout.addWidget(self.controls)
        layout.addLayout(self._button_row)
        layout.addWidget(split, 1)
        layout.addWidget(self.track_summary)
        layout.addWidget(self.track_table, 1)
        document.runs_changed.connect(self.refresh_soon)
        document.checkpoint_changed.connect(self.refresh_soon)
        document.active_run_changed.connect(self._follow_active)

    def refresh(self) -> None:
        own = self.document.own_runs()
        if not own and not (self.document.runs and self.all_models.isChecked()):
            others = tr("Show the runs of other models") if self.document.runs else ""
            self.say_empty(
                tr("No run of this model yet") if others else tr("No run yet"),
                tr(
                    "Choose treatments and press Run. Each run then stands here with its size, perplexity, divergence "
                    "and speed, measured, beside all others."
                ),
                others,
            )
            return
        self.show_content()
        runs = self.document.runs if self.all_models.isChecked() else own
        if self.model.records != runs:
            self.model.show(runs)
            tracks = [Track(run, comparison) for run in runs for comparison in run.comparisons]
            self.track_model.show(tracks)
            records = track_record(track.comparison for track in tracks)
            self.track_summary.setText(f"{summary_text(records)}." if records else tr(NO_RECORD))
        self._follow_active()

    def _make_track_record(self) -> None:
        self.track_model = RecordTable(TRACK_COLUMNS, self)
        self.track_sorted = QSortFilterProxyModel(self)
        self.track_sorted.setSourceModel(self.track_model)
        self.track_sorted.setSortRole(VALUE_ROLE)
        self.track_table = CopyableTable()
        self.track_table.setModel(self.track_sorted)
        self.track_table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
        self.track_table.setSortingEnabled(True)
        self.track_table.horizontalHeader().setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
        self.track_table.horizontalHeader().setSectionResizeMode(QHeaderView.ResizeMode.ResizeToContents)
        self.track_table.setAccessibleName(tr("Track record"))
        self.track_summary = QLabel(wordWrap=True)
        self.track_summary.setContentsMargins(8, 0, 8, 0)
        self.track_summary.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
        self._show_track_record()

    def _show_track_record(self) -> None:
        """One of both: the runs, or how well they were forecast."""
        on = self.track_record.isChecked()
        labels = (self.controls.label_of(box) for box in (self.cost, self.kl_increase))
        of_runs = (self.split, self.cost, self.kl_increase, self.logarithmic, *labels, *self.buttons.values())
        for widget in of_runs:
            widget.setVisible(not on)
        for widget in (self.track_summary, self.track_table):
            widget.setVisible(on)

    def _draw(self) -> None:
        self._show_track_record()
        cost_title, kl_increase_title = self.cost.currentText(), self.kl_increase.currentText()
        cost, kl_increase = self.cost.currentData(), self.kl_increase.currentData()
        points = []
        for run in self.document.own_runs():
            x, y = cost(run), kl_increase(run)
            if x is not None and y is not None:
                points.append(Point(run.run, run.recipe_name or run.run, x, y))
        self.plot.show_points(
            points,
            titles=(cost_title, kl_increase_title),
            active=self.document.active_run,
            logarithmic=self.logarithmic.isChecked(),
        )

    def _follow_active(self) -> None:
        active = self.document.active_run
        for button in self.buttons.values():
            button.setEnabled(bool(active))
        row = next((row for row, run in enumerate(self.model.records) if run.run == active), None)
        selection = self.table.selectionModel()
        if row is not None:
            index = self.sorted.mapFromSource(self.model.index(row, 0))
            if not selection.isRowSelected(index.row()):
                flags = QItemSelectionModel.SelectionFlag
                selection.select(index, flags.ClearAndSelect | flags.Rows)
        else:
            selection.clear()
        self._draw()

    def _row_selected(self, selected: QItemSelection, _: QItemSelection) -> None:
        """The row that was just selected becomes the active run; several stay selected for copying.

        A run of another model cannot be active: it is compared with the checkpoint that is open.
        """
        if not selected.indexes():
            return
        run = self.model.records[self.sorted.mapToSource(selected.indexes()[0]).row()]
        own = run in self.document.own_runs()
        if own:
            self.document.set_active_run(run.run)
        for button in self.buttons.values():
            button.setEnabled(own)

    def _button(self, text: str, tip: str, action: str) -> QPushButton:
        button = QPushButton(text)
        button.setToolTip(tip)
        button.clicked.connect(lambda: self.wanted.emit(action, self.document.active_run))
        self._button_row.addWidget(button)
        return button

    def _table_actions(self) -> list[QAction]:
        actions = []
        for action, button in self.buttons.items():
            entry = QAction(button.text(), self.table)
            entry.triggered.connect(lambda _=False, action=action: self.wanted.emit(action, self.document.active_run))
            actions.append(entry)
        return actions


def _ratio(after: int, before: int) -> float | None:
    return after / before if before else None
