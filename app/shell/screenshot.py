"""Pictures of the real window, drawn offscreen with the real engine."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from benchvise.app.state.layer_filter import LayerFilter
from benchvise.core.errors import OutputError, UserError
from benchvise.core.protocol.budget import Budget, parse_budget

if TYPE_CHECKING:
    from PySide6.QtGui import QImage
    from PySide6.QtWidgets import QWidget

TIMEOUT_SECONDS = 240.0
_SETTLE_SECONDS = 0.6


class UnknownTitleError(UserError):
    """There is no tab or panel of the title that was asked for."""


def take(
    out_png: str | Path,
    path: str = "",
    *,
    size: tuple[int, int] = (1440, 900),
    scale: float = 1.0,
    theme: str = "light",
    preset: str = "",
    run: bool = False,
    evaluate: bool = False,
    sensitivity: bool = False,
    budget: str = "",
    tab: str = "Histogram",
    dock: str = "",
    select: str = "",
    workspace: str = "",
    start_page: bool = False,
    check: str | None = None,
    language: str = "en",
) -> None:
    """Draw the window into a PNG of `size` × `scale` pixels.

    path:     the checkpoint to open; "" for the sample.
    preset:   a recipe to put in place; run, evaluate: carry it out, and measure what came of it.
    budget:   to be shared out, as `parse_budget` understands it; what it needs to know is measured first.
    select:   a filter as in the tree; all layers that match are selected.
    dock:     the panel to bring to the front, by its title.
    language: a code of `LANGUAGES`.
    check:    draw the check before a run instead, at `size`, for this runtime ("" for any).
    The picture is what the screen shows, so that what the window does not repaint is seen in it.
    Raises UserError with what the window had to say when something failed, UnknownTitleError when there is no such
    tab or panel, OutputError when it cannot be written.
    """
    out = Path(out_png)
    if not out.parent.is_dir():
        raise OutputError(f"There is no folder {out.parent}", where=str(out), remedy="Create it first.")
    wanted = parse_budget(budget) if budget else None
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    os.environ["QT_SCALE_FACTOR"] = str(scale)
    os.environ.setdefault("QT_LOGGING_RULES", "qt.qpa.*=false;default.warning=false")
    from PySide6.QtCore import QByteArray, QCoreApplication, QEvent, qInstallMessageHandler
    from PySide6.QtGui import QImageWriter

    from benchvise.app.shell.speech import speak
    from benchvise.app.shell.start import make_application, make_session
    from benchvise.app.state.preferences import Preferences
    from benchvise.app.theme.appearance import apply_theme

    qInstallMessageHandler(_say)
    application = make_application()
    apply_theme(application, "dark" if theme == "dark" else "light")
    folder = _Folder(workspace)
    try:
        session = make_session(Preferences(folder.settings), workspace=folder.workspace)
        speak(language)
        from benchvise.app.shell.main_window import MainWindow

        window = MainWindow(session)
        stage = _Stage(window, application.processEvents)
        try:
            stage.refuse_unknown(tab, dock)
            if check is None:
                window.resize(*size)
            window.show()
            if not start_page:
                stage.open(path)
                stage.prepare(preset, select, run=run, evaluate=evaluate, sensitivity=sensitivity, budget=wanted)
                stage.show_tab(tab)
                stage.show_dock(dock)
            stage.rest()
            if check is None and (window.width(), window.height()) != tuple(size):
                raise UserError(
                    f"The window cannot be {size[0]}x{size[1]}: it takes {window.width()}x{window.height()} at least",
                    remedy="Ask for a larger size.",
                )
            shown = window if check is None else stage.check(check, size)
            if not QImageWriter(str(out), QByteArray(b"png")).write(on_screen(shown)):
                raise OutputError("The picture cannot be written", where=str(out), remedy="Choose another place.")
        finally:
            session.client.close()
            window.deleteLater()
            # Only an event loop deletes by itself; a window that outlives the application crashes as Python ends.
            QCoreApplication.sendPostedEvents(None, QEvent.Type.DeferredDelete.value)
    finally:
        folder.remove()


def on_screen(shown: QWidget) -> QImage:
    """What the screen shows of a window; nothing is painted for it.

    At other scales than 1 the offscreen platform puts only a corner of the window on its screen; the picture is then
    what the window has painted for the screen.
    """
    if shown.devicePixelRatioF() == 1.0:
        return shown.screen().grabWindow(shown.winId()).toImage()
    from PySide6.QtGui import QImage

    painted = shown.backingStore().paintDevice()
    assert isinstance(painted, QImage)
    return painted.copy()


def _say(_kind: object, _context: object, message: str) -> None:
    """Hand on what Qt has to say, but not that the offscreen platform knows no size hints."""
    if "propagateSizeHints" not in message:
        sys.stderr.write(f"{message}\n")


class _Folder:
    """Settings and workspace of one picture, so that a person's own stay as they are."""

    def __init__(self, workspace: str) -> None:
        from tempfile import TemporaryDirectory

        self._place = TemporaryDirectory(prefix="benchvise-picture-")
        self.settings = Path(self._place.name) / "window.ini"
        self.workspace = workspace or str(Path(self._place.name) / "workspace")

    def remove(self) -> None:
        self._place.cleanup()


class _Stage:
    """Brings a window into the state that is pictured, and waits for the engine at each step."""

    def __init__(self, window: object, process_events: Callable[[], object]) -> None:
        from benchvise.app.shell.main_window import MainWindow

        assert isinstance(window, MainWindow)
        self._window = window
        self._session = window.session
        self._process_events = process_events

    def open(self, path: str) -> None:
        if path:
            self._window.opening.open(path)
        else:
            self._window.opening.open_sample()
        document = self._session.document
        self._wait("the checkpoint and its plan", lambda: document.plan is not None)

    def prepare(
        self, preset: str, select: str, *, run: bool, evaluate: bool, sensitivity: bool, budget: Budget | None
    ) -> None:
        document, work = self._session.document, self._window.work
        if preset:
            self._window.opening.use_preset(preset)
            self._wait("the plan", lambda: document.plan_is_current or document.plan_problem is not None)
        if select and document.checkpoint is not None:
            chosen = LayerFilter(document.checkpoint.layers).mask(select).nonzero()[0]
            document.select(int(index) for index in chosen)
        if sensitivity:
            self._window.measure_sensitivity()
            self._wait_for_jobs()
        if budget is not None:
            self._share_out(budget)
        if run:
            work.run()
            self._wait_for_jobs()
        if evaluate:
            work.ask_evaluation()
            work.measure_latency()
            self._wait_for_jobs()
        if document.checkpoint is not None and document.checkpoint.architecture and document.plan_problem is None:
            self._window.scoreboard.ask_forecast()
            self._wait_for_jobs()

    def _share_out(self, budget: Budget) -> None:
        from benchvise.app.budget.panel import BudgetPanel

        panel = self._window.plots.panel(BudgetPanel.title)
        assert isinstance(panel, BudgetPanel)
        self.show_tab(BudgetPanel.title)
        panel.measure()
        self._wait_for_jobs()
        self._wait("the budget", lambda: panel.allocation is not None)
        panel.share_out(budget)
        self._wait("the allocation", lambda: self._session.document.allocated is not None or bool(panel.problem.text()))
        if panel.problem.text():
            raise UserError(panel.problem.text().rstrip("."))

    def refuse_unknown(self, tab: str, dock: str) -> None:
        """Raises UnknownTitleError when there is no tab or panel of this title."""
        for kind, title, known in (("tab", tab, self._window.plot_titles()), ("panel", dock, tuple(self._docks()))):
            if title and title not in known:
                raise UnknownTitleError(f"There is no {kind} '{title}'", remedy=f"Known: {', '.join(known)}.")

    def _docks(self) -> dict[str, str]:
        """Names of the docks by their titles, without what these count."""
        return {dock.windowTitle().partition(" (")[0]: dock.objectName() for dock in self._window.docks.all()}

    def show_tab(self, title: str) -> None:
        self._window.show_plot(self._window.plot_titles().index(title))
        self.rest()
        self._wait("the plot", lambda: _is_settled(self._window.plots.panel(title)))

    def show_dock(self, title: str) -> None:
        if title:
            self._window.show_dock(self._docks()[title])

    def check(self, runtime: str, size: tuple[int, int]) -> QWidget:
        """The panel of the check for a runtime, once it shows what was found."""
        preflight = self._window.work.preflight
        preflight.show(runtime)
        self._wait("the check", lambda: preflight.checked is not None)
        assert preflight.dialog is not None
        preflight.dialog.resize(*size)
        self.rest()
        return preflight.dialog

    def rest(self) -> None:
        """Let forecasts, redraws and animations come to rest."""
        end = time.monotonic() + _SETTLE_SECONDS
        while time.monotonic() < end:
            self._process_events()
            time.sleep(0.01)

    def _wait_for_jobs(self) -> None:
        self.rest()
        self._wait("the job", lambda: not self._session.jobs.busy)

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        end = time.monotonic() + TIMEOUT_SECONDS
        while not ready():
            carded = self._window.cards.cards
            if carded:
                problem = carded[-1].problem
                raise UserError(problem.what, where=problem.where, remedy=problem.remedy)
            if time.monotonic() > end:
                raise UserError(f"Waiting for {what} took longer than {TIMEOUT_SECONDS:.0f} seconds")
            self._process_events()
            time.sleep(0.005)


def _is_settled(panel: object) -> bool:
    """True once a panel shows what it is for, or says for good that there is nothing to show."""
    from benchvise.app.panel.plot_panel import PlotPanel

    if not isinstance(panel, PlotPanel):
        return True
    return not panel.question.pending and (panel.shows_content or bool(panel.empty.heading))
