"""LOG: what happened, line by line."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QAction, QFontDatabase, QGuiApplication, QKeySequence
from PySide6.QtWidgets import QListView, QVBoxLayout, QWidget

from benchvise.app.jobs.log_model import LogModel
from benchvise.app.state.jobs import QUEUED
from benchvise.app.state.problems import Problem
from benchvise.app.state.session import Session
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Note, Partial
from benchvise.core.protocol.requests import Request
from benchvise.core.protocol.results import LayerCompressed
from benchvise.core.text import duration_text, error_text


class LogPanel(QWidget):
    """A bounded list that follows its end until one scrolls up."""

    title = message("Log")
    icon = "mdi6.text-box-outline"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.model = LogModel(self)
        self.view = QListView(uniformItemSizes=True)
        self.view.setModel(self.model)
        self.view.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.view.setSelectionMode(QListView.SelectionMode.ExtendedSelection)
        self.view.setContextMenuPolicy(Qt.ContextMenuPolicy.ActionsContextMenu)
        self.view.setAccessibleName(tr("Log"))
        self._add_action(tr("Copy selected lines"), self.copy_selected, QKeySequence.StandardKey.Copy)
        self._add_action(tr("Copy all"), lambda: QGuiApplication.clipboard().setText(self.model.as_text()))
        self._add_action(tr("Clear"), self.model.clear)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self.view)
        session.client.listen(Note, self._on_note)
        session.client.listen(Partial, self._on_layer, carrying=LayerCompressed)
        session.problems.added.connect(self._on_problem)
        session.jobs.added.connect(self._job_added)
        session.jobs.ended.connect(self._job_ended)

    def say(self, text: str, *, bad: bool = False) -> None:
        bar = self.view.verticalScrollBar()
        at_end = bar.value() >= bar.maximum() - 2
        self.model.add(text, bad=bad)
        if at_end:
            self.view.scrollToBottom()

    def copy_selected(self) -> None:
        rows = [index.row() for index in self.view.selectedIndexes()]
        QGuiApplication.clipboard().setText(self.model.as_text(rows))

    def _add_action(self, title: str, run: object, key: QKeySequence.StandardKey | None = None) -> None:
        action = QAction(title, self.view)
        if key is not None:
            action.setShortcut(key)
            action.setShortcutContext(Qt.ShortcutContext.WidgetShortcut)
        action.triggered.connect(run)
        self.view.addAction(action)

    def _on_note(self, _: int, note: Note, __: Request | None) -> None:
        self.say(note.message)

    def _on_layer(self, _: int, layer: LayerCompressed, __: Request | None) -> None:
        if not layer.resumed:
            self.say(layer_text(layer))

    def _on_problem(self, problem: Problem) -> None:
        self.say(f"{problem.what}. {problem.where} {problem.remedy}".strip(), bad=True)

    def _say_job(self, number: int, what: str) -> None:
        job = self._session.jobs.job(number)
        if job is not None and not job.quiet:
            self.say(f"{job.title}: {what}")

    def _job_added(self, number: int) -> None:
        self._say_job(number, tr(QUEUED))

    def _job_ended(self, number: int) -> None:
        job = self._session.jobs.job(number)
        if job is not None and job.failure is None:
            self._say_job(
                number, tr("{state} after {seconds}", state=tr(job.state), seconds=duration_text(job.seconds))
            )


def layer_text(layer: LayerCompressed) -> str:
    """A finished layer in one line: what was done, how well, and what the solver did."""
    parts = [layer.treatment, tr("exact") if layer.sqnr_db is None else tr("{sqnr_db:.1f} dB", sqnr_db=layer.sqnr_db)]
    if layer.output_error is not None:
        parts.append(tr("output error {output_error}", output_error=error_text(layer.output_error)))
    return f"{layer.name}: {', '.join((*parts, *layer.notes))}"
