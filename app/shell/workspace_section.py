"""The workspace in the preferences: where it is, what it takes, and what can go."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QHBoxLayout, QLabel, QMessageBox, QPushButton, QVBoxLayout, QWidget

from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.language import tr
from benchvise.core.text import byte_text, plural
from benchvise.core.workspace.housekeeping import clean_up, usage_of
from benchvise.core.workspace.workspace import Workspace


class WorkspaceSection(QWidget):
    """Measuring reads names and sizes of files only, and is done when the section is shown."""

    def __init__(self, session: Session, move: Callable[[], object]) -> None:
        super().__init__()
        self._session = session
        self._move = move
        self.place = ElidedLabel()
        self.takes = QLabel(wordWrap=True)
        self.takes.setProperty("tone", "muted")
        change = QPushButton(tr("Choose …"))
        change.clicked.connect(self._choose)
        self.clean = QPushButton(tr("Clean up …"))
        self.clean.setToolTip(tr("Remove what no finished run needs: unfinished runs and what was left half written"))
        self.clean.clicked.connect(self._clean)
        row = QHBoxLayout()
        row.addWidget(QLabel(tr("Workspace")))
        row.addWidget(self.place, 1)
        row.addWidget(change)
        row.addWidget(self.clean)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(UNIT // 2)
        layout.addLayout(row)
        layout.addWidget(self.takes)
        self.refresh()

    def refresh(self) -> None:
        workspace = Workspace(self._session.document.workspace)
        self.place.setText(str(workspace.path))
        usage = usage_of(workspace)
        self.takes.setText(
            tr(
                "{total}: {runs} {finished}, unfinished {unfinished}, measurements {rest}",
                total=byte_text(usage.nbytes),
                runs=plural(usage.runs, "run"),
                finished=byte_text(usage.finished_bytes),
                unfinished=byte_text(usage.unfinished_bytes),
                rest=byte_text(usage.rest_bytes),
            )
        )
        self.clean.setEnabled(usage.unfinished_bytes > 0 and not self._session.jobs.busy)

    def _choose(self) -> None:
        self._move()
        self.refresh()

    def _clean(self) -> None:
        workspace = Workspace(self._session.document.workspace)
        usage = usage_of(workspace)
        asked = tr(
            "Remove {size} of unfinished runs? They could be resumed until then. Finished runs stay.",
            size=byte_text(usage.unfinished_bytes),
        )
        if QMessageBox.question(self, tr("Clean up"), asked) == QMessageBox.StandardButton.Yes:
            clean_up(workspace)
            self._session.document.refresh_runs()
            self.refresh()
