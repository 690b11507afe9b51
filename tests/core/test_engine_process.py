"""The engine in a process of its own, spoken to over a pipe as the window does."""

from __future__ import annotations

import itertools
import json
import multiprocessing
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pytest

from benchvise.core.engine_process import ADVANCES_PER_SECOND, EngineServer, PipeProgress, QueuedRequest, main
from benchvise.core.errors import UserError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from benchvise.core.protocol import events, requests, results
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment

SAMPLE = str(Path(__file__).parents[2] / "resources" / "sample")
SLOW = Recipe(
    (
        Rule(
            ("all",),
            Treatment(Integer(bits=3, granularity="channel"), Nearest(clip_search=True, clip_steps=200)),
        ),
    )
)
QUICK = Recipe((Rule(("linears",), Treatment(Integer(granularity="channel"))),))
TIMEOUT = 60.0

E = TypeVar("E")


class Client:
    """The window's end of the pipe."""

    def __init__(self) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.process = context.Process(target=main, args=(theirs, 1), daemon=True)
        self.process.start()
        theirs.close()
        self.heard: list[Any] = []
        self._numbers = itertools.count(1)

    def ask(self, request: requests.Request) -> int:
        number = next(self._numbers)
        self.connection.send((number, request))
        return number

    def control(self, number: int, action: str) -> None:
        self.connection.send(events.Control(number, action))

    def until(self, wanted: Callable[[Any], bool]) -> Any:
        """The next event that is wanted; all are kept in `heard`."""
        deadline = time.monotonic() + TIMEOUT
        while self.connection.poll(max(0.0, deadline - time.monotonic())):
            event = self.connection.recv()
            self.heard.append(event)
            if wanted(event):
                return event
        raise AssertionError(f"not said in time; heard {self.heard[-5:]}")

    def next(self, kind: type[E], number: int) -> E:
        found: E = self.until(lambda event: isinstance(event, kind) and event.request == number)
        return found

    def quiet_for(self, seconds: float) -> bool:
        """Whether nothing is said for so long."""
        return not self.connection.poll(seconds)

    def end(self) -> None:
        self.connection.close()
        self.process.join(5)
        if self.process.is_alive():
            self.process.kill()
            self.process.join()


@pytest.fixture(scope="module")
def shared_client() -> Iterator[Client]:
    client = Client()
    yield client
    client.end()
    assert client.process.exitcode == 0


@pytest.fixture
def client(shared_client: Client) -> Client:
    shared_client.heard.clear()
    return shared_client


def slow_job(workspace: Path) -> requests.Compress:
    return requests.Compress(SAMPLE, SLOW, workspace=str(workspace))


def quick_job(workspace: Path) -> requests.Compress:
    return requests.Compress(SAMPLE, QUICK, workspace=str(workspace))


def test_a_checkpoint_is_opened_in_parts(client: Client) -> None:
    number = client.ask(requests.Open(SAMPLE))
    opened = client.next(events.Finished, number).result
    parts = [event.record for event in client.heard if isinstance(event, events.Partial)]
    assert isinstance(client.heard[0], events.Started)
    assert isinstance(opened, results.Opened)
    assert opened.checkpoint.layers == ()
    assert sum(len(part.layers) for part in parts) > 40


def test_jobs_wait_for_each_other_and_queries_do_not(client: Client, tmp_path: Path) -> None:
    first = client.ask(slow_job(tmp_path / "first"))
    second = client.ask(quick_job(tmp_path / "second"))
    third = client.ask(quick_job(tmp_path / "third"))
    client.next(events.Started, first)
    query = client.ask(requests.MakePlan(SAMPLE, QUICK))
    assert client.next(events.Finished, query).result.treated_layers == 35
    client.next(events.Finished, third)
    queued = [(event.request, event.position) for event in client.heard if isinstance(event, events.Queued)]
    assert queued == [(first, 0), (second, 1), (third, 2)]
    order = [
        event.request
        for event in client.heard
        if isinstance(event, events.Started | events.Finished) and event.request != query
    ]
    assert order == [first, first, second, second, third, third]
    kinds = [type(event) for event in client.heard if event.request in (first, query)]
    assert kinds.index(events.Finished) < len(kinds) - 1, "the query was answered while the job ran"
    layers = [event for event in client.heard if isinstance(event, events.Partial) and event.request == second]
    assert len(layers) == 35


def test_a_plan_waits_neither_for_torch_nor_for_a_look(tmp_path: Path) -> None:
    large = tmp_path / "large.safetensors"
    sparse_layer(large, 2048, 4096)
    client = Client()
    client.next(events.Finished, client.ask(requests.MakePlan(SAMPLE, QUICK)))
    warming = client.ask(requests.WarmUp())
    client.next(events.Started, warming)
    first = client.ask(requests.MakePlan(SAMPLE, QUICK))
    client.next(events.Finished, first)
    assert not any(event.request == warming and isinstance(event, events.Finished) for event in client.heard)
    client.next(events.Finished, warming)
    look = client.ask(requests.Look(str(large), "up", after=SLOW.rules[0].treatment))
    client.next(events.Started, look)
    second = client.ask(requests.MakePlan(SAMPLE, QUICK))
    client.next(events.Finished, second)
    assert not any(event.request == look and isinstance(event, events.Finished) for event in client.heard)
    client.control(look, "cancel")
    began = time.monotonic()
    client.next(events.Stopped, look)
    assert time.monotonic() - began < 8, "it is heard within one small block, not after the layer"
    client.end()


def sparse_layer(path: Path, rows: int, columns: int) -> None:
    """A float32 layer "up" of zeros that take no room on the disk."""
    size = 4 * rows * columns
    text = json.dumps({"up.weight": {"dtype": "F32", "shape": [rows, columns], "data_offsets": [0, size]}}).encode()
    with path.open("wb") as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.truncate(8 + len(text) + size)


def test_progress_ends_at_the_whole(client: Client, tmp_path: Path) -> None:
    number = client.ask(slow_job(tmp_path))
    began = time.monotonic()
    run = client.next(events.Finished, number).result
    seconds = time.monotonic() - began
    told = [event for event in client.heard if isinstance(event, events.Advanced)]
    assert 1 < len(told) <= seconds * ADVANCES_PER_SECOND + 2
    last = told[-1]
    assert last.done == last.total == sum(layer.bytes_before for layer in run.layers)
    assert (last.unit, last.paused) == ("bytes", False)
    assert last.rate > 0
    assert last.rss_bytes > 10e6


def test_pause_holds_and_resume_goes_on(client: Client, tmp_path: Path) -> None:
    number = client.ask(slow_job(tmp_path))
    client.next(events.Partial, number)
    client.control(number, "pause")
    paused = client.until(lambda event: isinstance(event, events.Advanced) and event.paused)
    assert paused.request == number
    assert client.quiet_for(0.4)
    query = client.ask(requests.MakePlan(SAMPLE, QUICK))
    client.next(events.Finished, query)
    client.control(number, "resume")
    assert not client.next(events.Advanced, number).paused
    client.next(events.Finished, number)


@pytest.mark.parametrize("paused", [False, True])
def test_cancel_stops_and_keeps_what_is_finished(client: Client, tmp_path: Path, paused: bool) -> None:
    number = client.ask(slow_job(tmp_path))
    client.next(events.Partial, number)
    if paused:
        client.control(number, "pause")
        client.until(lambda event: isinstance(event, events.Advanced) and event.paused)
    client.control(number, "cancel")
    client.next(events.Stopped, number)
    assert list((tmp_path / "layers").rglob("*.safetensors"))
    again = client.ask(requests.Compress(SAMPLE, SLOW, workspace=str(tmp_path), resume=True))
    first = client.next(events.Partial, again)
    assert first.record.resumed
    client.control(again, "cancel")
    client.next(events.Stopped, again)


def test_a_job_cancelled_before_its_turn_is_stopped_at_once(client: Client, tmp_path: Path) -> None:
    running = client.ask(slow_job(tmp_path / "running"))
    client.next(events.Started, running)
    waiting = client.ask(quick_job(tmp_path / "waiting"))
    client.control(waiting, "cancel")
    client.next(events.Stopped, waiting)
    assert not any(isinstance(event, events.Finished) and event.request == running for event in client.heard)
    client.control(running, "cancel")
    client.next(events.Stopped, running)
    last = client.ask(requests.MakePlan(SAMPLE, QUICK))
    client.next(events.Finished, last)
    assert not any(isinstance(event, events.Started) and event.request == waiting for event in client.heard)
    assert not (tmp_path / "waiting").exists()


def test_controls_for_nothing_are_ignored(client: Client) -> None:
    for action in ("pause", "resume", "cancel"):
        client.control(987_654, action)
    client.next(events.Finished, client.ask(requests.MakePlan(SAMPLE, QUICK)))


def test_what_the_person_can_fix_comes_without_details(client: Client, tmp_path: Path) -> None:
    failed = client.next(events.Failed, client.ask(requests.Open(str(tmp_path / "missing"))))
    assert "no such file" in failed.what
    assert (failed.where, failed.details) == (str(tmp_path / "missing"), "")
    assert failed.remedy


def test_faults_of_ours_come_with_the_traceback(client: Client) -> None:
    failed = client.next(events.Failed, client.ask("no request"))  # type: ignore[arg-type]
    assert "made a mistake: KeyError" in failed.what
    assert "Traceback" in failed.details
    assert "core/engine.py" in failed.details
    client.next(events.Finished, client.ask(requests.MakePlan(SAMPLE, QUICK)))


def test_a_killed_engine_is_the_end_of_the_pipe(tmp_path: Path) -> None:
    client = Client()
    number = client.ask(slow_job(tmp_path))
    client.next(events.Partial, number)
    client.process.kill()
    with pytest.raises((EOFError, OSError)):
        client.until(lambda _: False)
    client.end()
    assert client.process.exitcode == -9


def test_the_engine_ends_with_the_window_even_in_a_job(tmp_path: Path) -> None:
    client = Client()
    client.next(events.Started, client.ask(slow_job(tmp_path)))
    pid = client.process.pid
    client.connection.close()
    client.process.join(5)
    assert client.process.exitcode == 0
    assert not psutil.pid_exists(pid or 0)


def test_a_check_waits_neither_for_a_what_if_nor_for_a_job(monkeypatch: pytest.MonkeyPatch) -> None:
    blocked = threading.Event()

    def answered(request: requests.Request, _: object) -> results.Result:
        if not isinstance(request, requests.CheckRecipe):
            blocked.wait(TIMEOUT)
        return results.Ready("CPU", 1)

    monkeypatch.setattr("benchvise.core.engine_process.answer", answered)
    ours, theirs = multiprocessing.Pipe()
    serving = threading.Thread(target=EngineServer(theirs).serve, daemon=True)
    serving.start()
    recipe = Recipe()
    slow = (requests.WhatIf(SAMPLE, "a", SLOW.rules[0].treatment), requests.Compress(SAMPLE, recipe), requests.WarmUp())
    for number, request in enumerate((*slow, requests.CheckRecipe(SAMPLE, recipe)), 1):
        ours.send((number, request))
    finished = []
    while not finished and ours.poll(TIMEOUT):
        event = ours.recv()
        finished += [event.request] * isinstance(event, events.Finished)
    blocked.set()
    while len(finished) < 4 and ours.poll(TIMEOUT):
        event = ours.recv()
        finished += [event.request] * isinstance(event, events.Finished)
    assert finished[0] == 4
    assert sorted(finished) == [1, 2, 3, 4]
    ours.close()
    serving.join(TIMEOUT)


class Ear:
    """A pipe's end that remembers, and refuses what it is told to."""

    def __init__(self, refused: type | None = None) -> None:
        self.heard: list[Any] = []
        self.refused = refused

    def send(self, event: object) -> None:
        if self.refused is not None and isinstance(event, self.refused):
            raise TypeError("cannot pickle")
        self.heard.append(event)


def listening(ear: Ear) -> EngineServer:
    return EngineServer(ear)  # type: ignore[arg-type]


def test_progress_is_told_ten_times_a_second_whatever_the_job_does(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ear = Ear()
    progress = PipeProgress(QueuedRequest(1, requests.WarmUp()), listening(ear))
    for _ in range(50):
        progress.start(10, "tokens")
        for _ in range(30):  # beyond what it said there would be
            progress.advance(1)
            now[0] += 0.001
    assert len(ear.heard) <= 1.5 * ADVANCES_PER_SECOND + 1
    progress.tell_the_rest()
    assert (ear.heard[-1].done, ear.heard[-1].total) == (30, 10)
    assert ear.heard[-1].eta_seconds == 0
    said = len(ear.heard)
    progress.tell_the_rest()
    assert len(ear.heard) == said


def test_times_of_pause_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [100.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    ear, task = Ear(), QueuedRequest(1, requests.WarmUp())
    progress = PipeProgress(task, listening(ear))
    progress.start(100, "bytes")
    now[0] += 1
    task.running.clear()

    def passes() -> bool:
        now[0] += 1000
        task.running.set()
        return True

    monkeypatch.setattr(task.running, "wait", passes)
    progress.advance(10)
    assert (ear.heard[-2].paused, ear.heard[-1].paused) == (True, False)
    assert ear.heard[-1].rate == pytest.approx(10)
    assert ear.heard[-1].eta_seconds == pytest.approx(9)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (UserError("No", where="here", remedy="Do."), "No"),
        (MemoryError(), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 1 bytes"), "memory ran out"),
        (RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 1 bytes"), "memory ran out"),
        (RuntimeError("something else"), "made a mistake: RuntimeError: something else"),
    ],
)
def test_errors_become_sentences(error: Exception, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*_: object) -> None:
        raise error

    monkeypatch.setattr("benchvise.core.engine_process.answer", fails)
    ear = Ear()
    listening(ear)._answer(QueuedRequest(3, requests.WarmUp()))
    started, failed = ear.heard
    assert started == events.Started(3)
    assert said in failed.what
    assert failed.remedy
    assert bool(failed.details) == ("mistake" in said)


def test_a_result_that_no_pipe_carries_is_told_as_a_fault(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchvise.core.engine_process.answer", lambda *_: lambda: None)
    ear = Ear(refused=events.Finished)
    listening(ear)._answer(QueuedRequest(3, requests.WarmUp()))
    assert "cannot pickle" in ear.heard[-1].what
