"""Only the newest question is answered: what was dropped is not heard, however late its answer comes."""

import pytest
from PySide6.QtCore import QObject

from benchvise.app.engine.latest_request import LatestRequest
from benchvise.core.protocol.events import Failed, Finished, Stopped
from benchvise.core.protocol.requests import Look


@pytest.fixture
def asking(client):
    owner = QObject()
    asked = LatestRequest(client, owner)
    asked.owner = owner
    return asked


class Heard:
    """What was answered, in order."""

    def __init__(self):
        self.answers = []
        self.failures = []

    def ask(self, asking, *layers, stopped=None):
        requests = [Look("/models/tiny", layer) for layer in layers]
        asking.ask(
            requests,
            lambda place, answer: self.answers.append((place, answer)),
            lambda place, failure: self.failures.append((place, failure.what)),
            stopped,
        )


def test_answers_come_with_their_place(client, asking):
    heard = Heard()
    heard.ask(asking, "a", "b")
    first, second = client.numbers(Look)
    client.say(Finished(second, "B"))
    assert asking.pending
    client.say(Failed(first, "gone", "", ""))
    assert heard.answers == [(1, "B")]
    assert heard.failures == [(0, "gone")]
    assert not asking.pending


@pytest.mark.parametrize("again", [True, False])
def test_what_was_dropped_is_not_heard(client, asking, again):
    heard = Heard()
    heard.ask(asking, "old")
    old = client.last(Look)
    if again:
        heard.ask(asking, "new")
    else:
        asking.drop()
    assert (old, "cancel") in client.controls
    client.say(Finished(old, "OLD"))
    assert heard.answers == []
    if again:
        client.say(Finished(client.last(Look), "NEW"))
        assert heard.answers == [(0, "NEW")]


def test_the_newest_of_those_that_wait_is_asked_when_the_answer_is_there(client):
    owner, heard = QObject(), Heard()
    asking = LatestRequest(client, owner, "queue_last")
    for layer in ("first", "skipped", "last"):
        heard.ask(asking, layer)
    assert [client.requests[number].layer for number in client.numbers(Look)] == ["first"]
    assert asking.waiting
    client.say(Finished(client.last(Look), "FIRST"))
    assert [client.requests[number].layer for number in client.numbers(Look)] == ["first", "last"]
    client.say(Finished(client.last(Look), "LAST"))
    assert [answer for _, answer in heard.answers] == ["FIRST", "LAST"]


def test_somebody_elses_cancel_is_told(client, asking):
    heard, told = Heard(), []
    heard.ask(asking, "a", stopped=lambda: told.append("stopped"))
    asking.cancel()
    client.say(Stopped(client.last(Look)))
    assert told == ["stopped"]
    assert not asking.pending
