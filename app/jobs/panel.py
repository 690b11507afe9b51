"""JOBS: what runs, what waits, what is done, and each finished layer and tuning step as it comes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import QAbstractItemView, QHeaderView, QScrollArea, QSplitter, QTableView, QVBoxLayout, QWidget

from benchvise.app.jobs.job_row import JobRow
from benchvise.app.jobs.results_model import ResultsModel
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.split_panel import SplitPanel
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import TuningStep

if TYPE_CHECKING:
    from benchvise.app.jobs.loss_plot import LossPlot

RESULTS_DELAY_MS = 100


class JobsPanel(SplitPanel):
    """The queue on the left; on the right the layers of the compression that came last, and the loss while it tunes."""

    title = message("Jobs")
    icon = "mdi6.progress-wrench"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._rows: dict[int, JobRow] = {}
        self._results_of = 0
        self.model = ResultsModel(self)
        self.table = _table(self.model)
        self._list = QWidget()
        self._list.setProperty("surface", "panel")
        self._column = QVBoxLayout(self._list)
        self._column.setContentsMargins(0, UNIT // 2, 0, UNIT // 2)
        self._column.setSpacing(0)
        self._column.addStretch(1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(self._list)
        self.loss: LossPlot | None = None
        self._right = QSplitter(Qt.Orientation.Horizontal)
        self._right.addWidget(self.table)
        empty = tr(
            "No job yet. Choose a treatment or a preset and press Run (Ctrl+R): progress, time left and each "
            "finished layer appear here."
        )
        self.fill(empty, scroll, self._right, (400, 600))
        self._results_timer = QTimer(self, singleShot=True, interval=RESULTS_DELAY_MS)
        self._results_timer.timeout.connect(self._take_results)
        session.jobs.added.connect(self._add)
        session.jobs.changed.connect(self._change)
        session.jobs.removed.connect(self._remove)
        session.jobs.layer_done.connect(self._result_came)
        session.jobs.tuned.connect(self._result_came)
        for job in session.jobs:
            self._add(job.number)
        self.table.doubleClicked.connect(lambda index: self._select_layer(self.model.name_at(index.row())))

    def copy(self) -> None:
        """Copy the table of layers."""
        QGuiApplication.clipboard().setText(self.model.as_text())

    def _add(self, number: int) -> None:
        job = self._session.jobs.job(number)
        if job is None or job.quiet:
            return
        self._rows[number] = JobRow(self._session, job)
        self._column.insertWidget(0, self._rows[number])
        self.show_entries(True)

    def _change(self, number: int) -> None:
        if number in self._rows:
            self._rows[number].refresh()

    def _remove(self, number: int) -> None:
        row = self._rows.pop(number, None)
        if row is not None:
            self._column.removeWidget(row)
            row.deleteLater()
        if not self._rows:
            self._forget_results()
            self.show_entries(False)

    def _forget_results(self) -> None:
        self.model.show_results(())
        if self.loss is not None:
            self.loss.hide()

    def _result_came(self, number: int) -> None:
        if number != self._results_of:
            self._results_of = number
            self._forget_results()
        if not self._results_timer.isActive():
            self._results_timer.start()

    def _take_results(self) -> None:
        job = self._session.jobs.job(self._results_of)
        if job is None:
            return
        if job.tuning:
            self._show_loss(job.tuning)
        if len(job.layers) > self.model.rowCount():
            bar = self.table.verticalScrollBar()
            at_end = bar.value() >= bar.maximum() - 2
            self.model.extend(job.layers[self.model.rowCount() :])
            if at_end:
                self.table.scrollToBottom()

    def _show_loss(self, steps: Sequence[TuningStep]) -> None:
        """The plot is made when there is something to draw: most jobs tune nothing, and the window opens without it."""
        if self.loss is None:
            from benchvise.app.jobs.loss_plot import LossPlot

            self.loss = LossPlot()
            self._right.insertWidget(0, self.loss)
            self._right.setSizes([300, 500])
        self.loss.show_steps(steps)
        self.loss.show()

    def _select_layer(self, name: str) -> None:
        checkpoint = self._session.document.checkpoint
        if checkpoint is not None:
            self._session.document.select(i for i, layer in enumerate(checkpoint.layers) if layer.name == name)


def _table(model: ResultsModel) -> QTableView:
    table = QTableView()
    table.setModel(model)
    table.setShowGrid(False)
    table.setSelectionBehavior(QAbstractItemView.SelectionBehavior.SelectRows)
    table.setEditTriggers(QAbstractItemView.EditTrigger.NoEditTriggers)
    table.setTextElideMode(Qt.TextElideMode.ElideMiddle)
    table.setWordWrap(False)
    table.setAccessibleName(tr("Finished layers"))
    table.verticalHeader().hide()
    table.verticalHeader().setSectionResizeMode(QHeaderView.ResizeMode.Fixed)
    table.verticalHeader().setDefaultSectionSize(24)
    header = table.horizontalHeader()
    header.setSectionResizeMode(0, QHeaderView.ResizeMode.Stretch)
    header.setMinimumSectionSize(56)
    header.setSortIndicatorShown(True)
    header.setSortIndicatorClearable(True)
    header.setSortIndicator(-1, Qt.SortOrder.AscendingOrder)
    header.sortIndicatorChanged.connect(model.sort)
    for column, width in ((1, 96), (2, 76), (3, 88), (4, 84), (5, 76), (6, 56), (7, 76), (8, 68)):
        table.setColumnWidth(column, width)
    return table
