"""The real window with the real engine, offscreen."""

from __future__ import annotations

import os
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

import pytest
from PySide6.QtCore import QSettings
from pytestqt.qtbot import QtBot

from benchvise.app.shell.main_window import MainWindow
from benchvise.app.shell.start import make_session
from benchvise.app.state.preferences import Preferences

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"
TIMEOUT_MS = 120_000


_KEPT: list[MainWindow] = []
"""Windows of tests that are over. Qt has deleted what they were made of, and Python's collector, which a job calls,
would take the shells of pictures' items in an order that PySide does not survive."""


@pytest.fixture
def workspace(tmp_path: Path) -> str:
    return str(tmp_path / "workspace")


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, workspace: str, monkeypatch: pytest.MonkeyPatch) -> MainWindow:
    """A window that is shown, with its own settings, and closed with its engine at the end of the test."""
    QSettings.setDefaultFormat(QSettings.Format.IniFormat)
    QSettings.setPath(QSettings.Format.IniFormat, QSettings.Scope.UserScope, str(tmp_path / "settings"))
    monkeypatch.setenv("BENCHVISE_SETTINGS", str(tmp_path / "settings.ini"))
    monkeypatch.setattr(MainWindow, "_lets_jobs_go", lambda _: True)
    session = make_session(Preferences(), workspace=workspace)
    shown = MainWindow(session)
    # Nobody is there to answer whether an edited recipe may go.
    qtbot.addWidget(shown, before_close_func=lambda _: session.document.undo.setClean())
    _KEPT.append(shown)
    shown.show()
    qtbot.waitExposed(shown)
    return shown
