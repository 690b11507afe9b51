import pytest

from benchvise.app.state.document import Document
from benchvise.app.state.jobs import Jobs
from benchvise.app.state.preferences import Preferences
from benchvise.app.state.problems import Problems
from benchvise.app.state.session import Session
from tests.app.shell.fake_engine import FakeClient, network


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
    qtbot.waitUntil(lambda: bool(client.numbers(_plan_kind())))
    client.plan(checkpoint)
    return document


def _plan_kind():
    from benchvise.core.protocol.requests import MakePlan

    return MakePlan
