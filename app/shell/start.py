"""From arguments to a running window."""

from __future__ import annotations

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from functools import partial

from PySide6.QtCore import QTimer
from PySide6.QtWidgets import QApplication

from benchvise.app.engine.client import EngineClient
from benchvise.app.shell.main_window import MainWindow
from benchvise.app.shell.window_keeper import WindowKeeper
from benchvise.app.state.document import Document
from benchvise.app.state.jobs import Jobs
from benchvise.app.state.preference_values import PreferenceValues
from benchvise.app.state.preferences import Preferences
from benchvise.app.state.problems import Problems
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import apply_theme, tabular
from benchvise.app.theme.theme import ThemeChoice, theme_choice


def make_application() -> QApplication:
    """The application object, with names for settings and the desktop."""
    application = QApplication.instance() or QApplication(sys.argv[:1])
    assert isinstance(application, QApplication)
    application.setApplicationName("Benchvise")
    application.setDesktopFileName("benchvise")
    application.setFont(tabular(application.font()))
    return application


def make_session(preferences: Preferences, *, workspace: str = "", in_process: bool = False) -> Session:
    """The engine client and the records around it; nothing is started yet."""
    client = EngineClient(in_process=in_process)
    document = Document(client, workspace or preferences.workspace, client)
    return Session(client, document, Jobs(client, client), Problems(client, client), preferences)


def show_window(session: Session) -> MainWindow:
    """The window on the screen, with everything that lasts as long as it does."""
    window = WindowKeeper(session).window
    window.show()
    gc.freeze()  # what is there now stays: going over it at each full collection would make the window stutter
    return window


def run_window(arguments: Sequence[str]) -> int:
    """Show the window until it is closed; the result is the exit code."""
    options = _parse(arguments)
    application = make_application()
    preferences = Preferences()
    theme: ThemeChoice = options.theme or theme_choice(preferences.choices.theme)
    apply_theme(application, theme)
    _limit_engine(preferences.choices)
    session = make_session(preferences, workspace=options.workspace, in_process=options.in_process)
    sys.excepthook = session.problems.report_fault
    window = show_window(session)
    if options.path:
        QTimer.singleShot(0, window, partial(window.opening.open, options.path))
    try:
        return application.exec()
    finally:
        sys.excepthook = sys.__excepthook__
        session.client.close()


def _limit_engine(choices: PreferenceValues) -> None:
    """Hand on what the engine's process reads when it starts; what was set from outside stays."""
    for variable, value in (
        ("BENCHVISE_THREADS", choices.threads),
        ("BENCHVISE_DEVICE", choices.device),
        ("BENCHVISE_MEMORY_GB", choices.memory_gb),
    ):
        os.environ.setdefault(variable, str(value))


def _parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("benchvise", description="Open the window.")
    parser.add_argument("path", nargs="?", default="", help="a checkpoint folder or file to open")
    parser.add_argument("--workspace", default="", help="folder that keeps runs and measurements")
    parser.add_argument("--theme", choices=("system", "light", "dark"), default="")
    parser.add_argument("--in-process", action="store_true", help="run the engine without a process of its own")
    return parser.parse_args(list(arguments))
