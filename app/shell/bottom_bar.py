"""The bar at the bottom: jobs, problems and log at a click; what is open; what Benchvise takes of the memory."""

from __future__ import annotations

import os
from collections.abc import Callable
from functools import partial

import psutil
from PySide6.QtCore import QSize, Qt, QTimer
from PySide6.QtWidgets import QFrame, QLabel, QProgressBar, QStatusBar, QToolButton

from benchvise.app.jobs.job_row import progress_parts, progress_text
from benchvise.app.shell.docks import Docks
from benchvise.app.state.jobs import verb_of
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import theme_notifier
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.language import tr
from benchvise.core.protocol.events import Finished
from benchvise.core.protocol.requests import Request
from benchvise.core.protocol.results import Ready
from benchvise.core.text import byte_text, count_text, plural

HEIGHT = 28
MEMORY_INTERVAL_MS = 2000
CLOSES_AFTER_MS = 3000
_STEPS = 1000


class BottomBar(QStatusBar):
    """Left: jobs, problems, log; they open the docks below. Middle: the latest message. Right: what is open, memory."""

    def __init__(self, session: Session, docks: Docks, problems: Callable[[], int]) -> None:
        super().__init__()
        self._session = session
        self._docks = docks
        self._problem_count = problems
        self._device = ""
        self.setSizeGripEnabled(False)
        self.setFixedHeight(HEIGHT)
        self.setContentsMargins(UNIT // 2, 0, UNIT, 0)
        self.setFont(scaled(self.font(), 0.92))
        self.jobs_button = self._button("jobs")
        self.problems_button = self._button("problems")
        self.log_button = self._button("log")
        self.log_button.setText(tr("Log"))
        self.progress = QProgressBar(textVisible=False, maximum=_STEPS)
        self.progress.setFixedWidth(72)
        self.progress.setAccessibleName(tr("Progress of the running job"))
        self.progress.hide()
        self.cancel = QToolButton()
        self.cancel.setToolTip(tr("Cancel the job; what is finished stays"))
        self.cancel.setAccessibleName(tr("Cancel the job"))
        self.cancel.clicked.connect(self._cancel_running)
        self.cancel.hide()
        self.said = ElidedLabel()
        self.said.setProperty("tone", "muted")
        self.opened = ElidedLabel()
        self.opened.setAlignment(Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter)
        self.memory_text = QLabel()
        self.memory = QProgressBar(textVisible=False, maximum=_STEPS)
        self.memory.setFixedWidth(40)
        self.memory.setAccessibleName(tr("Memory that Benchvise uses"))
        for widget in (self.jobs_button, self.progress, self.cancel, self.problems_button, self.log_button):
            self.addWidget(widget)
        self.addWidget(self.said, 1)
        self.addWidget(self.opened, 2)
        self.addWidget(_line())
        self.addWidget(self.memory_text)
        self.addWidget(self.memory)
        self._forget = QTimer(self, singleShot=True)
        self._forget.timeout.connect(lambda: self.said.setText(""))
        self._close = QTimer(self, singleShot=True, interval=CLOSES_AFTER_MS)
        self._close.timeout.connect(self._close_untouched)
        self._opened_by_job = False
        self._listen()
        self._timer = QTimer(self, interval=MEMORY_INTERVAL_MS)
        self._timer.timeout.connect(self._show_memory)
        self._timer.start()
        self._paint_icons()
        self._show_memory()
        self._show_checkpoint()
        self._show_jobs()
        self.show_problems()

    def _listen(self) -> None:
        session = self._session
        session.document.checkpoint_changed.connect(self._show_checkpoint)
        session.document.opening_changed.connect(self._show_checkpoint)
        session.client.listen(Finished, self._on_ready, carrying=Ready)
        for signal in (session.jobs.changed, session.jobs.added, session.jobs.removed):
            signal.connect(self._show_jobs)
        session.jobs.added.connect(self._job_added)
        session.jobs.ended.connect(self._job_ended)
        self._docks.below_changed.connect(self._show_open)
        theme_notifier().changed.connect(self._paint_icons)

    def _button(self, name: str) -> QToolButton:
        button = QToolButton()
        button.setCheckable(True)
        button.setToolButtonStyle(Qt.ToolButtonStyle.ToolButtonTextBesideIcon)
        button.setIconSize(QSize(14, 14))
        button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
        button.clicked.connect(partial(self._toggle, name))
        return button

    def _toggle(self, name: str, _: bool = False) -> None:
        self._opened_by_job = False
        self._docks.toggle_below(name)
        self._show_open()

    def say(self, text: str, milliseconds: int) -> None:
        """Show a message for a while, in a place of its own."""
        self.said.setText(text)
        self._forget.start(milliseconds)

    def show_problems(self) -> None:
        """Count the problems anew."""
        self.problems_button.setText(tr("Problems {problem_count}", problem_count=self._problem_count()))

    def _show_jobs(self, _: int = 0) -> None:
        job = self._session.jobs.running
        self.progress.setVisible(job is not None)
        self.cancel.setVisible(job is not None)
        if job is None:
            waiting = sum(not other.ended and not other.quiet for other in self._session.jobs)
            self.jobs_button.setText(
                tr("Jobs {waiting} queued", waiting=waiting) if waiting else tr("Jobs none running")
            )
            self.jobs_button.setToolTip(tr("Open or close jobs, log and problems (Ctrl+J)"))
            return
        self.jobs_button.setText(
            " · ".join([tr("Jobs {verb_of}", verb_of=verb_of(job.request)), *progress_parts(job)[1:2]])
        )
        self.jobs_button.setToolTip(f"{job.title}: {progress_text(job)}")
        fraction = job.fraction
        self.progress.setRange(0, 0 if fraction is None else _STEPS)
        self.progress.setValue(round(_STEPS * (fraction or 0.0)))

    def _show_open(self) -> None:
        for name, button in (
            ("jobs", self.jobs_button),
            ("problems", self.problems_button),
            ("log", self.log_button),
        ):
            button.setChecked(self._docks.shows(name))

    def _job_added(self, number: int) -> None:
        job = self._session.jobs.job(number)
        if job is None or job.quiet:
            return
        self._close.stop()
        if not self._docks.below_is_open():
            self._opened_by_job = True
        self._docks.open_below("jobs")

    def _job_ended(self, _: int) -> None:
        if self._opened_by_job and not self._session.jobs.would_lose:
            self._close.start()

    def _close_untouched(self) -> None:
        """Give the room back, unless a person is at work there."""
        if not self._opened_by_job or self._session.jobs.would_lose:
            return
        if self._docks.touched_below():
            self._close.start()
            return
        self._opened_by_job = False
        self._docks.close_below()

    def _cancel_running(self) -> None:
        job = self._session.jobs.running
        if job is not None:
            self._session.jobs.cancel(job.number)

    def _show_checkpoint(self) -> None:
        document = self._session.document
        checkpoint = document.checkpoint
        if document.opening:
            self.opened.setText(tr("Opening {opening} …", opening=document.opening))
        elif checkpoint is None:
            self.opened.setText(tr("No checkpoint is open"))
        else:
            name = checkpoint.architecture or tr("unknown architecture ({format})", format=checkpoint.format)
            weights = tr("{parameters} weights", parameters=count_text(document.totals.parameters))
            self.opened.setText(f"{name} · {weights} · {plural(checkpoint.tensors, 'tensor')}")
            self.opened.setToolTip(checkpoint.path)

    def _show_memory(self) -> None:
        used, whole = own_memory(), psutil.virtual_memory().total
        self.memory.setValue(round(_STEPS * used / whole))
        self.memory_text.setText(tr("{used} of {whole}", used=byte_text(used), whole=byte_text(whole)))
        said = tr(
            "Benchvise and its engine use {used} of this machine's {whole}",
            used=byte_text(used),
            whole=byte_text(whole),
        )
        said += f"\n{self._device}" if self._device else ""
        self.memory.setToolTip(said)
        self.memory_text.setToolTip(said)

    def _on_ready(self, _: int, ready: Ready, __: Request | None) -> None:
        cores = plural(os.cpu_count() or 1, "core")
        self._device = tr(
            "Jobs run on {device} ({cores}) with {threads}",
            device=ready.device,
            cores=cores,
            threads=plural(ready.threads, "thread"),
        )
        self._show_memory()

    def _paint_icons(self) -> None:
        self.jobs_button.setIcon(icon("mdi6.chevron-up"))
        self.cancel.setIcon(icon("mdi6.close"))


def own_memory() -> int:
    """Bytes that this process and its children hold; one that ended in between counts nothing."""
    process = psutil.Process()
    total = 0
    for part in (process, *process.children(recursive=True)):
        try:
            total += part.memory_info().rss
        except psutil.Error:
            continue
    return total


def _line() -> QFrame:
    line = QFrame()
    line.setFrameShape(QFrame.Shape.VLine)
    line.setProperty("tone", "line")
    return line
