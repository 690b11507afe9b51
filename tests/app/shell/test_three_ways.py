"""Three ways to begin: into a memory, for a runtime, just to look."""

from PySide6.QtCore import Qt

from benchvise.app.shell.start_page import Purpose
from benchvise.core.protocol.budget import MEMORY, Budget
from benchvise.core.protocol.requests import MakePlan, MeasureSensitivity, Open
from tests.app.shell.test_main_window import window  # noqa: F401 - a fixture

SAMPLE = "sample"


def choose(page, card, text, qtbot):
    """Press the entry of a card's button."""
    button = page._choose_buttons[card]
    entry = next(action for action in button.menu().actions() if action.text() == text)
    entry.trigger()
    qtbot.wait(1)


def test_fitting_asks_for_what_has_to_be_known_and_keeps_the_budget(window, client, document, checkpoint, qtbot):  # noqa: F811
    page = window.start_page
    page.gigabytes.setValue(0.5)
    page.tokens.setValue(2048)
    choose(page, 0, "The sample model", qtbot)
    assert client.requests[client.last(Open)].path.endswith(SAMPLE)
    client.open(document, checkpoint)
    qtbot.waitUntil(lambda: bool(client.numbers(MakePlan)))
    assert window.plots.current_title() == "Budget"
    assert client.numbers(MeasureSensitivity)
    assert window.plots.panel("Budget")._wanted == Budget(MEMORY, 5e8, 2048)


def test_a_runtime_that_is_picked_is_the_documents(window, client, document, checkpoint, qtbot):  # noqa: F811
    page = window.start_page
    qtbot.mouseClick(page.runtime_buttons["llama.cpp"], Qt.MouseButton.LeftButton)
    choose(page, 1, "The sample model", qtbot)
    client.open(document, checkpoint)
    assert document.runtime == "llama.cpp"
    assert window.plots.current_title() == "Histogram"


def test_just_looking_changes_nothing(window, client, document, checkpoint, qtbot):  # noqa: F811
    choose(window.start_page, 2, "The sample model", qtbot)
    client.open(document, checkpoint)
    assert not document.modified
    assert not client.numbers(MeasureSensitivity)


def test_a_purpose_is_forgotten_with_its_checkpoint(window, client, document, checkpoint, qtbot):  # noqa: F811
    window.begin("/models/tiny", Purpose(budget=Budget(MEMORY, 1e9, 64)))
    client.open(document, checkpoint)
    qtbot.waitUntil(lambda: bool(client.numbers(MeasureSensitivity)))
    document.close_checkpoint()
    asked = len(client.numbers(MeasureSensitivity))
    client.open(document, checkpoint)
    qtbot.wait(50)
    assert len(client.numbers(MeasureSensitivity)) == asked


def test_recent_checkpoints_that_are_gone_are_marked_and_can_be_removed(window, tmp_path, qtbot):  # noqa: F811
    page, preferences = window.start_page, window.session.preferences
    (tmp_path / "there").mkdir()
    for path in (tmp_path / "gone", tmp_path / "there"):
        preferences.add_recent(str(path))
    texts = [page.recent.item(row).text() for row in range(page.recent.count())]
    assert texts[0].startswith("there")
    assert texts[1] == "gone   is missing"
    page.recent.setCurrentRow(1)
    qtbot.keyClick(page.recent, Qt.Key.Key_Delete)
    assert preferences.recent == (str(tmp_path / "there"),)
