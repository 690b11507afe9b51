"""A notice when a long job ends while one looks elsewhere."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import QObject
from PySide6.QtWidgets import QApplication, QMainWindow, QSystemTrayIcon

from benchvise.app.state.jobs import STOPPED, Jobs
from benchvise.core.language import tr
from benchvise.core.text import duration_text

LONG_SECONDS = 10.0
SHOWN_MS = 8000


class Notices(QObject):
    """Flashes the window's entry in the task bar, and uses the system's notifications where there are any."""

    def __init__(
        self, jobs: Jobs, window: QMainWindow, say: Callable[[str, int], object], wanted: Callable[[], bool]
    ) -> None:
        super().__init__(window)
        self._jobs = jobs
        self._window = window
        self._say = say
        self._wanted = wanted
        self._tray: QSystemTrayIcon | None = None
        jobs.ended.connect(self._job_ended)

    def _job_ended(self, number: int) -> None:
        job = self._jobs.job(number)
        if job is None or job.quiet or job.state == STOPPED:
            return
        said = tr(
            "{title}: {state} after {seconds}", title=job.title, state=tr(job.state), seconds=duration_text(job.seconds)
        )
        self._say(said, SHOWN_MS)
        if job.seconds < LONG_SECONDS or self._window.isActiveWindow() or not self._wanted():
            return
        QApplication.alert(self._window)
        if QSystemTrayIcon.isSystemTrayAvailable():
            self._tray = self._tray or QSystemTrayIcon(self._window.windowIcon(), self)
            self._tray.show()
            self._tray.showMessage("Benchvise", said, self._window.windowIcon(), SHOWN_MS)
