"""One job in the list: what it is, how far it is, and what can be done with it."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QFrame, QHBoxLayout, QLabel, QProgressBar, QToolButton, QVBoxLayout, QWidget

from benchvise.app.state.jobs import DONE, FAILED, PAUSED, QUEUED, RUNNING, STOPPED, Job
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.language import tr
from benchvise.core.protocol.requests import Compress
from benchvise.core.text import amount_text, byte_text, count_text, duration_text, rate_text

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
        return (tr("waits for its turn"),)
    if job.state == DONE:
        return (tr("done in {seconds}", seconds=duration_text(job.seconds)),)
    if job.state == STOPPED:
        return (tr("cancelled; finished layers are kept") if isinstance(job.request, Compress) else tr("cancelled"),)
    if job.state == FAILED:
        return (tr(job.failure.what) if job.failure is not None else tr("failed"),)
    if progress is None:
        return (tr(job.note) or tr("starting …"),)
    done = byte_text(progress.done) if progress.unit == "bytes" else count_text(progress.done)
    parts = [tr("{done} of {total}", done=done, total=amount_text(progress.total, progress.unit))]
    if progress.paused or job.state == PAUSED:
        parts.append(tr("paused"))
    elif progress.eta_seconds is not None:
        parts.append(tr("{eta_seconds} left", eta_seconds=duration_text(progress.eta_seconds)))
    if progress.rate > 0 and not progress.paused:
        parts.append(rate_text(progress.rate, progress.unit))
    parts.append(tr("{rss_bytes} in use", rss_bytes=byte_text(progress.rss_bytes)))
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
        self.bar.setAccessibleName(tr("Progress of {title}", title=job.title))
        self.pause_button = QToolButton()
        self.pause_button.clicked.connect(session.jobs.toggle_pause)
        self.cancel_button = QToolButton()
        self.cancel_button.setToolTip(tr("Cancel; what is finished stays"))
        self.cancel_button.setAccessibleName(tr("Cancel the job"))
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
        self.pause_button.setToolTip(tr("Resume") if paused else tr("Pause"))
        self.pause_button.setAccessibleName(tr("Resume the job") if paused else tr("Pause the job"))
        self.cancel_button.setVisible(not job.ended)
        self.cancel_button.setIcon(icon("mdi6.close"))
