"""PROBLEMS: every error stays here after its card is closed, and every warning of the plan."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtGui import QGuiApplication, QTextCursor
from PySide6.QtWidgets import (
    QHBoxLayout,
    QListWidget,
    QListWidgetItem,
    QPlainTextEdit,
    QPushButton,
    QVBoxLayout,
    QWidget,
)

from benchvise.app.state.problems import Problem
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme
from benchvise.app.widgets.split_panel import SplitPanel
from benchvise.core.language import message, tr
from benchvise.core.wording import sentences

_PROBLEM = int(Qt.ItemDataRole.UserRole)


class ProblemsPanel(SplitPanel):
    """A list and the whole text of the chosen entry."""

    title = message("Problems")
    icon = "mdi6.alert-outline"

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.list = QListWidget()
        self.list.setUniformItemSizes(True)
        self.list.setAccessibleName(tr("Problems and warnings"))
        self.list.setTextElideMode(Qt.TextElideMode.ElideRight)
        self.text = QPlainTextEdit(readOnly=True)
        copy = QPushButton(tr("Copy"))
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(self.text.toPlainText()))
        clear = QPushButton(tr("Clear"))
        clear.clicked.connect(session.problems.clear)
        buttons = QHBoxLayout()
        buttons.setContentsMargins(UNIT, UNIT // 2, UNIT, UNIT // 2)
        buttons.addStretch(1)
        buttons.addWidget(copy)
        buttons.addWidget(clear)
        right = QWidget()
        column = QVBoxLayout(right)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(0)
        column.addWidget(self.text, 1)
        column.addLayout(buttons)
        empty = tr("Nothing went wrong. Errors, and what the plan cannot carry out as asked, are listed here.")
        self.fill(empty, self.list, right, (500, 500))
        self.list.currentItemChanged.connect(self._show_text)
        for signal in (session.problems.added, session.problems.cleared, session.document.plan_changed):
            signal.connect(self.refresh)
        session.document.checkpoint_changed.connect(self.refresh)
        self.refresh()

    @property
    def count(self) -> int:
        return self.list.count()

    def refresh(self, _: object = None) -> None:
        """List what the plan has to say, then the errors, the newest first."""
        chosen = self.text.toPlainText()
        self.list.clear()
        theme = current_theme()
        for problem in self._of_plan():
            self._add(problem, "mdi6.alert-outline", theme.warning)
        for problem in reversed(self._session.problems.all):
            self._add(problem, "mdi6.alert-circle-outline", theme.error)
        self.show_entries(self.list.count() > 0)
        texts = [self.list.item(row).data(_PROBLEM).text for row in range(self.list.count())]
        self.list.setCurrentRow(texts.index(chosen) if chosen in texts else 0)

    def _of_plan(self) -> list[Problem]:
        document = self._session.document
        found: list[Problem] = []
        if document.plan_problem is not None:
            failure = document.plan_problem
            found.append(Problem(failure.what, failure.where, failure.remedy, failure.details, tr("Plan")))
        if document.checkpoint is not None:
            found += [Problem(warning, during=tr("Checkpoint")) for warning in document.checkpoint.warnings]
        if document.plan is not None:
            found += [Problem(warning, during=tr("Plan")) for warning in sentences(document.plan.warnings)]
        return found

    def _add(self, problem: Problem, name: str, colour: str) -> None:
        during = f"{problem.during}: " if problem.during else ""
        item = QListWidgetItem(icon(name, colour), f"{during}{problem.what}")
        item.setData(_PROBLEM, problem)
        item.setToolTip(problem.what)
        self.list.addItem(item)

    def _show_text(self, item: QListWidgetItem | None) -> None:
        self.text.setPlainText(item.data(_PROBLEM).text if item is not None else "")
        self.text.moveCursor(QTextCursor.MoveOperation.Start)
