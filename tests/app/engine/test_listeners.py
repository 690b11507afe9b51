"""Who listens hears what concerns him, and nobody is called who is gone."""

import gc

import pytest
from PySide6.QtCore import QObject

from benchvise.app.engine.listeners import Asked
from benchvise.core.protocol.events import Failed, Finished, Note, Partial, Started, Stopped
from benchvise.core.protocol.requests import Compress, MakePlan, WarmUp
from benchvise.core.protocol.results import LayerCompressed, LayersOpened, Ready
from benchvise.core.recipe.recipe import Recipe

READY = Ready("CPU", 1)
LAYER = LayerCompressed("a", "int4", 20.0, 0.1, 0, 8, 1, 4.0, 0.1)
RUN, PLAN = Compress("/models/tiny", Recipe()), MakePlan("/models/tiny", Recipe())


class Ear(QObject):
    def __init__(self):
        super().__init__()
        self.heard = []

    def hear(self, number, content, request):
        self.heard.append((number, content, request))


def test_kinds_contents_and_requests_are_told_apart(client):
    ear = Ear()
    client.listen(Asked, ear.hear, answering=(Compress, WarmUp))
    client.listen((Partial, Finished), ear.hear, carrying=(LayerCompressed, Ready), answering=Compress)
    client.listen(Stopped, ear.hear, answering=MakePlan)
    run, plan = client.ask(RUN), client.ask(PLAN)
    for number in (run, plan):
        client.say(Started(number))
        client.say(Note(number, "said"))
        client.say(Partial(number, LAYER))
        client.say(Partial(number, LayersOpened(())))
    client.say(Stopped(plan))
    client.say(Finished(run, READY))
    assert ear.heard == [
        (run, Asked(run), RUN),
        (run, LAYER, RUN),
        (plan, Stopped(plan), PLAN),
        (run, READY, RUN),
    ]


def test_who_asked_hears_first_and_a_late_event_belongs_to_no_request(client):
    ear = Ear()
    client.listen((Finished, Failed), ear.hear)
    number = client.ask(WarmUp(), done=ear.heard.append)
    client.say(Finished(number, READY))
    client.say(Failed(number, "what", "where", "remedy"))
    assert ear.heard == [READY, (number, READY, WarmUp()), (number, Failed(number, "what", "where", "remedy"), None)]


def test_nobody_is_kept_alive_or_called_when_gone(client, qtbot):
    kept, dropped, destroyed = Ear(), Ear(), Ear()
    for ear in (dropped, destroyed, kept):
        client.listen(Finished, ear.hear)
    heard = dropped.heard, destroyed.heard
    del dropped, ear
    gc.collect()
    destroyed.deleteLater()
    qtbot.wait(20)
    client.say(Finished(client.ask(WarmUp()), READY))
    assert len(kept.heard) == 1
    assert heard == ([], [])
    with pytest.raises(TypeError, match="held weakly"):
        client.listen(Finished, lambda *_: None)
