import errno
import gc
import multiprocessing
import os
import signal
import time
from multiprocessing import Pipe
from threading import Thread
from typing import ClassVar

import psutil
import pytest
from PySide6.QtCore import QObject

from benchvise.app.engine import client as client_module
from benchvise.app.engine.child import EngineProcess
from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.thread import PROGRESS_INTERVAL
from benchvise.core.protocol.events import Advanced, Failed, Finished, Partial, Started, Stopped
from benchvise.core.protocol.requests import Compress, MakePlan, WarmUp
from benchvise.core.protocol.results import LayerCompressed, Ready
from benchvise.core.recipe.recipe import Recipe

READY = Ready("CPU", 1)
REQUEST = Compress("/models/tiny", Recipe())


class PlayedEngine:
    """An engine whose side of the pipe the test holds."""

    living: ClassVar[list] = []
    refusals: ClassVar[list] = []

    def __init__(self):
        if PlayedEngine.refusals:
            raise PlayedEngine.refusals.pop()
        self.connection, self.theirs = Pipe()
        self.dead = False
        PlayedEngine.living.append(self)

    def waitables(self):
        return []

    def alive(self):
        return not self.dead

    def cause_of_end(self):
        return "signal 9"

    def die(self):
        self.dead = True
        self.theirs.close()

    def end(self, grace_seconds):  # noqa: ARG002 - there is nothing to wait for
        self.connection.close()


@pytest.fixture
def client(qapp, monkeypatch):
    PlayedEngine.living, PlayedEngine.refusals = [], []
    monkeypatch.setattr(client_module, "EngineProcess", PlayedEngine)
    made = EngineClient()
    made.moveToThread(qapp.thread())
    yield made
    made.close()


class Ear:
    """Hears every event that ends or carries something."""

    def __init__(self, client):
        self.events = []
        client.listen((Advanced, Partial, Started, Finished, Failed, Stopped), self.hear)

    def hear(self, number, content, request):  # noqa: ARG002 - the listeners' contract
        self.events.append(content)


def engine(qtbot, number=0):
    qtbot.waitUntil(lambda: len(PlayedEngine.living) > number)
    return PlayedEngine.living[number]


def test_a_request_is_answered_on_the_gui_thread(client, qtbot):
    answers = []
    number = client.ask(WarmUp(), done=answers.append)
    played = engine(qtbot)
    assert played.theirs.recv() == (number, WarmUp())
    played.theirs.send(Finished(number, READY))
    qtbot.waitUntil(lambda: answers == [READY])


def test_callbacks_die_with_their_owner(client, qtbot):
    answers = []
    ear = Ear(client)
    owner = QObject()
    number = client.ask(WarmUp(), done=answers.append, owner=owner)
    owner.deleteLater()
    qtbot.wait(20)
    engine(qtbot).theirs.send(Finished(number, READY))
    qtbot.waitUntil(lambda: len(ear.events) == 1)
    assert answers == []


def test_progress_is_held_back_but_results_are_not(client, qtbot):
    ear = Ear(client)
    number = client.ask(REQUEST)
    played = engine(qtbot)
    layer = LayerCompressed("a", "int4", 20.0, 0.1, 0, 8, 1, 4.0, 0.1)

    def burst():
        for done in range(2000):
            played.theirs.send(Advanced(number, done, 2000, "bytes", 1.0, 1.0, 1))
            if done % 20 == 0:
                played.theirs.send(Partial(number, layer))
        played.theirs.send(Finished(number, READY))

    began = time.monotonic()
    thread = Thread(target=burst)
    thread.start()
    qtbot.waitUntil(lambda: READY in ear.events)
    thread.join()
    spent = time.monotonic() - began
    progress = [event for event in ear.events if isinstance(event, Advanced)]
    assert len(progress) <= spent / PROGRESS_INTERVAL + 2
    assert progress[-1].done == 1999
    assert ear.events.count(layer) == 100
    assert ear.events[-1] == READY


def test_a_dead_engine_fails_what_was_in_flight_and_is_replaced_when_asked(client, qtbot):
    failures = []
    number = client.ask(REQUEST, failed=failures.append)
    played = engine(qtbot)
    played.theirs.recv()
    played.theirs.send(Started(number))
    played.die()
    qtbot.waitUntil(lambda: bool(failures))
    assert failures[0].what == "The engine stopped (signal 9) while compressing; finished layers are kept"
    assert failures[0].remedy == "Press Run to resume."
    assert failures[0].resumable
    again = client.ask(WarmUp())
    assert engine(qtbot, 1).theirs.recv() == (again, WarmUp())


def no_memory():
    return OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))


def test_an_engine_that_cannot_be_started_fails_requests_and_is_tried_again(client, qtbot):
    PlayedEngine.refusals = [no_memory(), no_memory()]
    failures, answers = [], []
    number = client.ask(REQUEST, failed=failures.append)
    qtbot.waitUntil(lambda: bool(failures))
    assert failures[0].request == number
    assert failures[0].what == "The engine cannot be started (Cannot allocate memory)"
    assert failures[0].remedy
    again = client.ask(WarmUp(), done=answers.append)
    played = engine(qtbot)
    assert played.theirs.recv() == (again, WarmUp())
    played.theirs.send(Finished(again, READY))
    qtbot.waitUntil(lambda: answers == [READY])
    assert len(failures) == 1


def test_an_engine_that_dies_and_cannot_be_replaced_fails_the_next_request_too(client, qtbot):
    failures = []
    client.ask(REQUEST, failed=failures.append)
    played = engine(qtbot)
    played.theirs.recv()
    PlayedEngine.refusals = [no_memory()]
    played.die()
    qtbot.waitUntil(lambda: len(failures) == 1)
    client.ask(WarmUp(), failed=failures.append)
    qtbot.waitUntil(lambda: len(failures) == 2)
    assert "cannot be started" in failures[1].what
    client.ask(WarmUp())
    engine(qtbot, 1)


def test_a_request_that_no_pipe_carries_fails_alone(client, qtbot):
    failures, answers = [], []
    client.ask(lambda: None, failed=failures.append)
    qtbot.waitUntil(lambda: bool(failures))
    assert "Traceback" in failures[0].details
    number = client.ask(WarmUp(), done=answers.append)
    engine(qtbot).theirs.send(Finished(number, READY))
    qtbot.waitUntil(lambda: answers == [READY])


def test_closing_leaves_no_pipe_open(qapp, monkeypatch):  # noqa: ARG001 - threads of Qt need it
    monkeypatch.setattr(client_module, "EngineProcess", PlayedEngine)
    PlayedEngine.living = []
    gc.collect()
    before = psutil.Process().num_fds()
    for ask in (False, True):
        made = EngineClient()
        if ask:
            made.ask(WarmUp())
        made.close()
    for played in PlayedEngine.living:
        played.theirs.close()
    assert psutil.Process().num_fds() == before


def test_controls_reach_only_what_is_in_flight(client, qtbot):
    number = client.ask(REQUEST)
    played = engine(qtbot)
    played.theirs.recv()
    client.control(number + 5, "cancel")
    client.control(number, "pause")
    control = played.theirs.recv()
    assert (control.request, control.action) == (number, "pause")
    played.theirs.send(Stopped(number))


def test_closing_cancels_and_returns_soon(client, qtbot):
    number = client.ask(REQUEST)
    played = engine(qtbot)
    played.theirs.recv()
    began = time.monotonic()
    client.close()
    assert time.monotonic() - began < 3.0
    assert played.theirs.recv().action == "cancel"
    assert number == 1


@pytest.mark.parametrize("in_process", [False, True])
def test_the_real_engine_answers_and_leaves_nothing_behind(qtbot, in_process):
    from benchvise.app.shell.commands.opening import sample_path

    before = set(psutil.Process().children(recursive=True))
    client = EngineClient(in_process=in_process)
    answers = []
    client.ask(MakePlan(sample_path(), Recipe()), done=answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=30_000)
    assert answers[0].total_before > 1_000_000
    client.close()
    left = set(psutil.Process().children(recursive=True)) - before
    assert not [child for child in left if "resource_tracker" not in " ".join(child.cmdline())]


def test_a_killed_child_is_replaced(qtbot, monkeypatch):
    from benchvise.app.shell.commands.opening import sample_path

    made = []

    class Recorded(EngineProcess):
        def __init__(self):
            super().__init__()
            made.append(self)

    monkeypatch.setattr(client_module, "EngineProcess", Recorded)
    client = EngineClient()
    answers, failures = [], []
    client.ask(MakePlan(sample_path(), Recipe()), done=answers.append)
    qtbot.waitUntil(lambda: bool(answers), timeout=30_000)
    number = client.ask(WarmUp(), failed=failures.append)
    (child,) = [each for each in multiprocessing.active_children() if each.sentinel in made[0].waitables()]
    os.kill(child.pid, signal.SIGKILL)
    qtbot.waitUntil(lambda: bool(failures), timeout=10_000)
    assert isinstance(failures[0], Failed)
    assert failures[0].request == number
    assert "signal 9" in failures[0].what
    client.ask(MakePlan(sample_path(), Recipe()), done=answers.append)
    qtbot.waitUntil(lambda: len(answers) == 2, timeout=30_000)
    client.close()
