"""The window under test: offscreen, with settings of its own, and silent: a Qt warning is a failure."""

import os

os.environ["QT_QPA_PLATFORM"] = "offscreen"

import pytest

from benchvise.app.state.document import Document
from benchvise.app.state.jobs import Jobs
from benchvise.app.state.preferences import FILE_VARIABLE, Preferences
from benchvise.app.state.problems import Problems
from benchvise.app.state.session import Session
from benchvise.app.theme.theme import theme_notifier
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.requests import MakePlan
from benchvise.core.recipe.recipe import Treatment
from tests.app.fake_engine import FakeClient, network
from tests.app.plain_document import SAMPLE, PatientClient, PlainDocument

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


@pytest.fixture
def client(qapp):
    made = FakeClient()
    made.moveToThread(qapp.thread())
    return made


@pytest.fixture
def checkpoint():
    return network()


@pytest.fixture
def document(client, tmp_path):
    return Document(client, str(tmp_path / "workspace"))


@pytest.fixture
def session(client, document):
    return Session(client, document, Jobs(client), Problems(client), Preferences())


@pytest.fixture
def opened(client, document, checkpoint, qtbot):
    client.open(document, checkpoint)
    qtbot.waitUntil(lambda: bool(client.numbers(MakePlan)))
    client.plan(checkpoint)
    return document


@pytest.fixture
def light_theme():
    theme_notifier().choose("light")
    yield
    theme_notifier().choose("light")


@pytest.fixture(scope="session")
def sample():
    return open_checkpoint(str(SAMPLE))


@pytest.fixture
def plots_client(qapp):  # noqa: ARG001 - signals need an application
    return PatientClient()


@pytest.fixture
def plots_document(qapp, light_theme, sample, tmp_path, plots_client):  # noqa: ARG001 - signals need an application
    return PlainDocument(sample, str(tmp_path), plots_client)


@pytest.fixture
def int4():
    return Treatment(Integer(bits=4, granularity="channel"))


@pytest.fixture
def shown(qtbot, plots_document, plots_client):
    """Build a panel, show it, and wait until it has asked what it wants."""

    def show(kind):
        panel = kind(plots_document, plots_client)
        qtbot.addWidget(panel)
        panel.resize(900, 600)
        panel.show()
        qtbot.waitExposed(panel)
        qtbot.wait(20)
        return panel

    return show
