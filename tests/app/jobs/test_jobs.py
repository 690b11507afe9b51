import pytest

from benchvise.app.jobs.job_row import progress_text
from benchvise.app.jobs.panel import JobsPanel
from benchvise.app.state.jobs import DONE, FAILED, PAUSED, QUEUED, RUNNING, STOPPED
from benchvise.app.state.problems import Problem
from benchvise.core.protocol.events import Advanced, Failed, Finished, Partial, Queued, Started, Stopped
from benchvise.core.protocol.requests import Compress, ForecastLatency, Look
from benchvise.core.protocol.results import Estimate, LatencyForecast, LayerCompressed, Run, TuningStep
from benchvise.core.recipe.recipe import Recipe

ASK = Compress("/models/tiny", Recipe(name="int4-g128"))


def layer(name="a", sqnr=20.123):
    return LayerCompressed(name, "int4 g128", sqnr, 0.1, 3, 8, 1, 4.125, 0.1, notes=("fell back",))


def run():
    return Run("r1", "/models/tiny", "", 4.0, 4.0, 2, 1, (), 1.0, 1)


def test_only_jobs_are_listed_whoever_asked(session, client):
    client.ask(Look("p", "l"))
    number = client.ask(ASK)
    assert [job.number for job in session.jobs] == [number]
    assert session.jobs.job(number).title == "Compress tiny · int4-g128"


def test_the_life_of_a_job(session, client):
    number = client.ask(ASK)
    job = session.jobs.job(number)
    states = []
    session.jobs.changed.connect(lambda n: states.append(session.jobs.job(n).state))
    client.say(Queued(number, 1))
    assert progress_text(job) == "waits for its turn"
    client.say(Started(number))
    client.say(Advanced(number, 410_000_000, 1_000_000_000, "bytes", 3.1e8, 18.4, 900_000_000))
    assert progress_text(job) == "410 MB of 1.00 GB · 18 s left · 310 MB/s · 900 MB in use"
    client.say(Advanced(number, 410_000_000, 1_000_000_000, "bytes", 3.1e8, 18.4, 900_000_000, paused=True))
    assert "paused" in progress_text(job)
    client.say(Advanced(number, 500_000_000, 1_000_000_000, "bytes", 3.1e8, 18.4, 900_000_000))
    client.say(Finished(number, run()))
    assert states == [QUEUED, RUNNING, RUNNING, PAUSED, RUNNING, DONE]
    assert not session.jobs.busy


def test_pause_and_cancel_go_to_the_engine(session, client):
    number = client.ask(ASK)
    client.say(Started(number))
    session.jobs.toggle_pause()
    client.say(Advanced(number, 1, 2, "layers", 1.0, None, 1, paused=True))
    session.jobs.toggle_pause()
    session.jobs.cancel(number)
    assert client.controls == [(number, "pause"), (number, "resume"), (number, "cancel")]


def test_forecasts_leave_no_trace_and_never_hold_the_window(session, client):
    number = client.ask(ForecastLatency("p", Recipe()))
    assert session.jobs.busy
    assert not session.jobs.would_lose
    client.say(Finished(number, LatencyForecast("CPU", Estimate(2, 2, 2), Estimate(1, 1, 1), 2, 1)))
    assert session.jobs.job(number) is None


def test_a_failed_job_becomes_a_problem_with_a_card(session, client):
    carded = []
    session.problems.carded.connect(carded.append)
    number = client.ask(ASK)
    client.say(Failed(number, "The disk is full", "/out", "Free some space"))
    assert session.jobs.job(number).state == FAILED
    assert isinstance(carded[0], Problem)
    assert carded[0].during == "Compress tiny · int4-g128"
    client.say(Failed(999, "A look failed", "", ""))
    assert len(session.problems.all) == 2
    assert len(carded) == 1


@pytest.fixture
def panel(qtbot, session):
    made = JobsPanel(session)
    qtbot.addWidget(made)
    made.show()
    return made


def test_layers_come_into_the_table(panel, client, qtbot, qtmodeltester):
    number = client.ask(ASK)
    client.say(Started(number))
    for name in "abc":
        client.say(Partial(number, layer(name)))
    qtbot.waitUntil(lambda: panel.model.rowCount() == 3)
    client.say(Partial(number, layer("exact", None)))
    qtbot.waitUntil(lambda: panel.model.rowCount() == 4)
    assert [panel.model.index(3, column).data() for column in (0, 2)] == ["exact", "exact"]
    assert panel.model.index(0, 2).data() == "20.12"
    qtmodeltester.check(panel.model)
    assert panel.model.as_text().splitlines()[0].startswith("Layer\tTreatment\tSQNR (dB)")


def test_clearing_takes_ended_jobs_away(panel, session, client):
    first, second = client.ask(ASK), client.ask(ASK)
    client.say(Started(first))
    client.say(Stopped(first))
    assert session.jobs.job(first).state == STOPPED
    session.jobs.clear_ended()
    assert [job.number for job in session.jobs] == [second]
    assert list(panel._rows) == [second]


def test_the_loss_of_tuning_is_drawn_as_it_comes(session, client, panel, qtbot):
    number = client.ask(ASK)
    client.say(Started(number))
    assert panel.loss is None
    steps = [TuningStep("polish", 0, 2, held_out=0.5), TuningStep("polish", 1, 2, 0.4), TuningStep("polish", 2, 2, 0.3)]
    for step in [*steps, TuningStep("norms", 1, 4, 0.25)]:
        client.say(Partial(number, step))
    qtbot.waitUntil(lambda: panel.loss is not None and panel.loss.isVisible())
    assert [row[1:] for row in panel.loss.data().rows] == [
        (0, None, 0.5),
        (1, 0.4, None),
        (2, 0.3, None),
        (3, 0.25, None),
    ]
    assert session.jobs.job(number).tuning[1] == steps[1]
    assert "loss 0.4000 at first and 0.2500 now; held-out KL 0.5000." in panel.loss.summary()
    other = client.ask(ASK)
    client.say(Partial(other, layer("b")))
    assert not panel.loss.isVisible()
