"""The window under test: offscreen, with settings of its own, and silent: a Qt warning is a failure."""

import os

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import pytest

from benchvise.app.state.preferences import FILE_VARIABLE

HARMLESS = "This plugin does not support "
"""The offscreen platform says so of sizes, stacking and grabbing the keyboard."""


@pytest.fixture(autouse=True)
def own_settings(tmp_path, monkeypatch):
    monkeypatch.setenv(FILE_VARIABLE, str(tmp_path / "window.ini"))
    monkeypatch.setenv("BENCHVISE_WORKSPACE", str(tmp_path / "workspace"))


@pytest.fixture(autouse=True)
def no_qt_warnings(qtlog):
    yield
    said = [record.message for record in qtlog.records if not record.message.startswith(HARMLESS)]
    assert not said, said
