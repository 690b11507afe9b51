"""The plot has the greater part of the window, and what is seldom needed opens when it is wanted."""

import pytest
from PySide6.QtCore import Qt

from benchvise.app.plots.trace_key import KeyEntry
from benchvise.app.shell import bottom_bar
from benchvise.core.protocol.events import Finished, Started
from benchvise.core.protocol.requests import Compress, ForecastLatency
from benchvise.core.protocol.results import RunSummary
from tests.app.shell.test_main_window import filled, finish, window  # noqa: F401 - fixtures

BELOW = ("jobs", "log", "problems")


def picture_of(shown, qtbot, size):
    """The histogram's canvas in a window of that size, with the names of two traces above it."""
    shown.resize(*size)
    shown.docks.arrange()
    panel = shown.plots.panel("Histogram")
    panel.show_content()
    panel.plot.key.show_entries(
        [KeyEntry(name, "#000000", name) for name in ("before · bfloat16", "after · int4 g128")]
    )
    qtbot.wait(60)
    return panel.plot.canvas


@pytest.mark.parametrize(("size", "share"), [((1280, 800), 0.40), ((1920, 1080), 0.50)])
def test_the_plot_has_its_share_of_the_window(filled, qtbot, size, share):  # noqa: F811
    canvas = picture_of(filled, qtbot, size)
    assert (filled.width(), filled.height()) == size
    assert canvas.width() * canvas.height() / (size[0] * size[1]) >= share


def test_everything_fits_a_small_screen(filled, qtbot):  # noqa: F811
    canvas = picture_of(filled, qtbot, (1024, 768))
    assert (filled.width(), filled.height()) == (1024, 768)
    assert canvas.width() >= 480


def test_a_splitter_moved_by_hand_stays_as_a_share(filled, qtbot):  # noqa: F811
    filled.resize(1280, 800)
    filled.docks.arrange()
    qtbot.wait(40)
    filled.resizeDocks([filled.docks.dock("layers")], [400], Qt.Orientation.Horizontal)
    qtbot.wait(40)
    filled.resize(1920, 1080)
    qtbot.wait(40)
    assert filled.docks.dock("layers").width() == pytest.approx(600, abs=4)
    assert filled.docks.dock("treatment").width() <= 304
    filled.reset_layout()
    qtbot.wait(40)
    assert filled.docks.dock("layers").width() == pytest.approx(400, abs=4)


def test_jobs_open_below_and_close_again(filled, client, document, qtbot):  # noqa: F811
    filled.bottom._close.setInterval(60)
    docks = [filled.docks.dock(name) for name in BELOW]
    assert not any(dock.isVisible() for dock in docks)
    assert filled.bottom.jobs_button.text() == "Jobs none running"
    number = client.ask(Compress("/models/tiny", document.recipe))
    client.say(Started(number))
    assert filled.docks.shows("jobs")
    assert filled.bottom.jobs_button.text().startswith("Jobs Compress")
    assert filled.bottom.progress.isVisible()
    client.say(Finished(number, RunSummary("r", "", "", "done", 1, 1, 1, 1.0, 0.0)))
    qtbot.waitUntil(lambda: not filled.docks.below_is_open())


def test_what_a_person_opened_stays_open(filled, client, document, qtbot):  # noqa: F811
    filled.bottom._close.setInterval(30)
    qtbot.mouseClick(filled.bottom.problems_button, Qt.MouseButton.LeftButton)
    assert filled.docks.shows("problems")
    number = client.ask(Compress("/models/tiny", document.recipe))
    client.say(Started(number))
    assert filled.docks.shows("jobs")
    client.say(Finished(number, RunSummary("r", "", "", "done", 1, 1, 1, 1.0, 0.0)))
    qtbot.wait(120)
    assert filled.docks.below_is_open()
    filled.commands.action("below").trigger()
    assert not filled.docks.below_is_open()


def test_a_forecast_opens_nothing(filled, client, document):  # noqa: F811
    client.say(Started(client.ask(ForecastLatency("/models/tiny", document.recipe, document.workspace, 1, 256, 0, ""))))
    assert not filled.docks.below_is_open()


def test_a_message_covers_nothing(filled):  # noqa: F811
    before = filled.bottom.opened.text()
    filled.say("Copied")
    assert filled.bottom.said.text() == "Copied"
    assert filled.bottom.opened.isVisible()
    assert filled.bottom.opened.text() == before


def test_memory_is_our_own():
    used = bottom_bar.own_memory()
    assert 10_000_000 < used < 8_000_000_000
