"""The status bar: what is open, what it runs on, how full the memory is, and the running job in small."""

from __future__ import annotations

import os

import psutil
from PySide6.QtCore import Qt, QTimer
from PySide6.QtWidgets import QHBoxLayout, QLabel, QProgressBar, QStatusBar, QToolButton, QWidget

from benchvise.app.jobs.panel import progress_parts, progress_text
from benchvise.app.state.jobs import verb_of
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.theme.icons import icon
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.core.protocol.events import Finished
from benchvise.core.protocol.requests import Request
from benchvise.core.protocol.results import Ready
from benchvise.core.text import byte_text, count_text, plural

MEMORY_INTERVAL_MS = 2000
_STEPS = 1000
_TEXT_WIDTH = 260


class StatusBar(QStatusBar):
    """Left: the checkpoint. Right: the running job, the device, the memory."""

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self.setSizeGripEnabled(False)
        self.setContentsMargins(UNIT, 0, UNIT, 0)
        self.opened = ElidedLabel()
        self.job = _JobInSmall(session)
        self.device = QLabel(f"CPU {plural(os.cpu_count() or 1, 'core')}")
        self._memory_text = QLabel()
        self._memory = QProgressBar(textVisible=False, maximum=_STEPS)
        self._memory.setFixedWidth(56)
        self._memory.setAccessibleName("Memory in use")
        self.addWidget(self.opened, 1)
        for widget in (self.job, self.device, self._memory_text, self._memory):
            self.addPermanentWidget(widget)
        session.document.checkpoint_changed.connect(self._show_checkpoint)
        session.document.opening_changed.connect(self._show_checkpoint)
        session.client.listen(Finished, self._on_ready, carrying=Ready)
        self._timer = QTimer(self, interval=MEMORY_INTERVAL_MS)
        self._timer.timeout.connect(self._show_memory)
        self._timer.start()
        self._show_memory()
        self._show_checkpoint()

    def _show_checkpoint(self) -> None:
        document = self._session.document
        checkpoint = document.checkpoint
        if document.opening:
            self.opened.setText(f"Opening {document.opening} …")
        elif checkpoint is None:
            self.opened.setText("No checkpoint is open")
        else:
            name = checkpoint.architecture or f"unknown architecture ({checkpoint.format})"
            weights = f"{count_text(document.totals.parameters)} weights"
            self.opened.setText(f"{name} · {weights} · {plural(checkpoint.tensors, 'tensor')} · {checkpoint.path}")

    def _show_memory(self) -> None:
        memory = psutil.virtual_memory()
        used = memory.total - memory.available
        self._memory.setValue(round(_STEPS * used / memory.total))
        self._memory_text.setText(f"RAM {byte_text(used)}")
        said = f"{byte_text(used)} of {byte_text(memory.total)} in use by all programs"
        self._memory.setToolTip(said)
        self._memory_text.setToolTip(said)

    def _on_ready(self, _: int, ready: Ready, __: Request | None) -> None:
        self.device.setText(f"{ready.device} {plural(os.cpu_count() or 1, 'core')}")
        self.device.setToolTip(f"Jobs run on {ready.device} with {plural(ready.threads, 'thread')}")


class _JobInSmall(QWidget):
    """A bar, the numbers, pause and cancel; hidden while nothing runs."""

    def __init__(self, session: Session) -> None:
        super().__init__()
        self._session = session
        self._text = ElidedLabel()
        self._text.setMaximumWidth(_TEXT_WIDTH)
        self._bar = QProgressBar(textVisible=False, maximum=_STEPS)
        self._bar.setFixedWidth(96)
        self._bar.setAccessibleName("Progress of the running job")
        self._cancel = QToolButton()
        self._cancel.setToolTip("Cancel the job")
        self._cancel.setAccessibleName("Cancel the job")
        self._cancel.setIcon(icon("mdi6.close"))
        self._cancel.clicked.connect(self._cancel_running)
        row = QHBoxLayout(self)
        row.setContentsMargins(0, 0, UNIT, 0)
        row.setSpacing(UNIT)
        row.addWidget(self._text)
        row.addWidget(self._bar, 0, Qt.AlignmentFlag.AlignVCenter)
        row.addWidget(self._cancel)
        for signal in (session.jobs.changed, session.jobs.added, session.jobs.removed):
            signal.connect(self._show_running)
        self.hide()

    def _show_running(self, _: int = 0) -> None:
        job = self._session.jobs.running
        self.setVisible(job is not None)
        if job is None:
            return
        self._text.setText(" · ".join([verb_of(job.request), *progress_parts(job)[:2]]))
        self._text.setToolTip(f"{job.title}: {progress_text(job)}")
        fraction = job.fraction
        self._bar.setRange(0, 0 if fraction is None else _STEPS)
        self._bar.setValue(round(_STEPS * (fraction or 0.0)))

    def _cancel_running(self) -> None:
        job = self._session.jobs.running
        if job is not None:
            self._session.jobs.cancel(job.number)
