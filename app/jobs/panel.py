"""JOBS: what runs, what waits, what is done, and each finished layer as it comes."""

from __future__ import annotations

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QGuiApplication
from PySide6.QtWidgets import (
    QAbstractItemView,
    QFrame,
    QHBoxLayout,
    QHeaderView,
    QLabel,
    QProgressBar,
    QScrollArea,
    QSplitter,
    QStackedWidget,
    QTableView,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.jobs.results_model import ResultsModel
from benchvise.app.state.jobs import DONE, FAILED, PAUSED, QUEUED, RUNNING, STOPPED, Job
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.protocol.requests import Compress
from benchvise.core.text import amount_text, byte_text, count_text, duration_text, rate_text

RESULTS_DELAY_MS = 100
_STEPS = 10_000
_LOOKS = {
    QUEUED: ("mdi6.clock-outline", "muted"),
    RUNNING: ("mdi6.play-circle-outline", "accent"),
    PAUSED: ("mdi6.pause-circle-outline", "warning"),
    DONE: ("mdi6.check-circle-outline", "good"),
    STOPPED: ("mdi6.stop-circle-outline", "muted"),
    FAILED: ("mdi6.alert-circle-outline", "error"),
}


def progress_text(job: Job) -> str:
    """`41 of 224 layers · 18 s left · 310 MB/s · 1.2 GB`, as far as it is known."""
    return " · ".join(progress_parts(job))


def progress_parts(job: Job) -> tuple[str, ...]:
    """What is known of a job's progress, the most important first: how far, time left, rate, memory."""
    progress = job.progress
    if job.state == QUEUED:
        return ("waits for its turn",)
    if job.state == DONE:
        return (f"done in {duration_text(job.seconds)}",)
    if job.state == STOPPED:
        return ("cancelled; finished layers are kept" if isinstance(job.request, Compress) else "cancelled",)
    if job.state == FAILED:
        return (job.failure.what if job.failure is not None else "failed",)
    if progress is None:
        return (job.note or "starting …",)
    done = byte_text(progress.done) if progress.unit == "bytes" else count_text(progress.done)
    parts = [f"{done} of {amount_text(progress.total, progress.unit)}"]
    if progress.paused or job.state == PAUSED:
        parts.append("paused")
    elif progress.eta_seconds is not None:
        parts.append(f"{duration_text(progress.eta_seconds)} left")
    if progress.rate > 0 and not progress.paused:
        parts.append(rate_text(progress.rate, progress.unit))
    parts.append(f"{byte_text(progress.rss_bytes)} in use")
    return tuple(parts)


class JobRow(QFrame):
    """One job: title, bar, numbers, pause and cancel."""

    def __init__(self, session: Session, job: Job, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._job = job
        self._mark = QLabel()
        self._title = ElidedLabel()
        self._title.setText(job.title)
        self._text = ElidedLabel()
        self._text.setProperty("tone", "muted")
        self.bar = QProgressBar(textVisible=False)
        self.bar.setAccessibleName(f"Progress of {job.title}")
        self.pause_button = QToolButton()
        self.pause_button.clicked.connect(session.jobs.toggle_pause)
        self.cancel_button = QToolButton()
        self.cancel_button.setToolTip("Cancel; what is finished stays")
        self.cancel_button.setAccessibleName("Cancel the job")
        self.cancel_button.clicked.connect(lambda: session.jobs.cancel(job.number))
        lines = QVBoxLayout()
        lines.setSpacing(2)
        lines.addWidget(self._title)
        lines.addWidget(self.bar)
        lines.addWidget(self._text)
        row = QHBoxLayout(self)
        row.setContentsMargins(UNIT, UNIT // 2, UNIT, UNIT // 2)
        row.setSpacing(UNIT)
        row.addWidget(self._mark, 0, Qt.AlignmentFlag.AlignTop)
        row.addLayout(lines, 1)
        row.addWidget(self.pause_button)
        row.addWidget(self.cancel_button)
        theme_notifier().changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        """Show the job as it is."""
        job, theme = self._job, current_theme()
        name, colour = _LOOKS[job.state]
        self._mark.setPixmap(icon(name, getattr(theme, colour)).pixmap(18, 18))
        self._mark.setToolTip(job.state)
        self._text.setText(progress_text(job))
        fraction = job.fraction
        self.bar.setVisible(not job.ended)
        self.bar.setRange(0, 0 if fraction is None and job.state == RUNNING else _STEPS)
        self.bar.setValue(round(_STEPS * (fraction or 0.0)))
        paused = job.state == PAUSED
        self.pause_button.setVisible(job.state in (RUNNING, PAUSED))
        self.pause_button.setIcon(icon("mdi6.play" if paused else "mdi6.pause"))
        self.pause_button.setToolTip("Resume" if paused else "Pause")
        self.pause_button.setAccessibleName("Resume the job" if paused else "Pause the job")
        self.cancel_button.setVisible(not job.ended)
        self.cancel_button.setIcon(icon("mdi6.close"))


class JobsPanel(QWidget):
    """The queue on the left, the chosen compression's layers on the right."""

    title = "Jobs"
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
        empty = QLabel(
            "No job yet. Choose a treatment or a preset and press Run (Ctrl+R): progress, time left and each "
            "finished layer appear here.",
            wordWrap=True,
            alignment=Qt.AlignmentFlag.AlignCenter,
        )
        empty.setProperty("tone", "muted")
        empty.setContentsMargins(4 * UNIT, UNIT, 4 * UNIT, UNIT)
        splitter = QSplitter(Qt.Orientation.Horizontal)
        splitter.addWidget(scroll)
        splitter.addWidget(self.table)
        splitter.setStretchFactor(0, 2)
        splitter.setStretchFactor(1, 3)
        splitter.setSizes([400, 600])
        self._stack = QStackedWidget()
        self._stack.addWidget(empty)
        self._stack.addWidget(splitter)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._stack)
        self._results_timer = QTimer(self, singleShot=True, interval=RESULTS_DELAY_MS)
        self._results_timer.timeout.connect(self._take_results)
        session.jobs.added.connect(self._add)
        session.jobs.changed.connect(self._change)
        session.jobs.removed.connect(self._remove)
        session.jobs.layer_done.connect(self._layer_done)
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
        self._stack.setCurrentIndex(1)

    def _change(self, number: int) -> None:
        if number in self._rows:
            self._rows[number].refresh()

    def _remove(self, number: int) -> None:
        row = self._rows.pop(number, None)
        if row is not None:
            self._column.removeWidget(row)
            row.deleteLater()
        if not self._rows:
            self.model.show_results(())
            self._stack.setCurrentIndex(0)

    def _layer_done(self, number: int) -> None:
        if number != self._results_of:
            self._results_of = number
            self.model.show_results(())
        if not self._results_timer.isActive():
            self._results_timer.start()

    def _take_results(self) -> None:
        job = self._session.jobs.job(self._results_of)
        if job is not None:
            bar = self.table.verticalScrollBar()
            at_end = bar.value() >= bar.maximum() - 2
            self.model.extend(job.layers[self.model.rowCount() :])
            if at_end:
                self.table.scrollToBottom()

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
    table.setAccessibleName("Finished layers")
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
