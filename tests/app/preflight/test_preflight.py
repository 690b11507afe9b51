"""Run and the check before it, with an engine that is played."""

from __future__ import annotations

import pytest
from PySide6.QtWidgets import QPushButton, QWidget

from benchvise.app.preflight.controller import Preflight
from benchvise.app.preflight.dialog import PreflightDialog
from benchvise.app.preflight.finding_card import FindingCard
from benchvise.app.theme.appearance import apply_theme
from benchvise.app.widgets.flow import FlowLayout
from benchvise.core.protocol.events import Failed, Finished
from benchvise.core.protocol.requests import CheckRecipe, ForecastJob
from benchvise.core.protocol.results import Checked, Estimate, Finding, Fix, JobForecast
from benchvise.core.recipe.presets import load_preset

INT8 = load_preset("int8-channel")
FIXED = load_preset("int4-g128")
FINE = Checked((Finding("disk", "fine", "Fits on the disk"),), "", may_run=True, loads=True)
LAYERS = tuple(f"model.layers.{number}.mlp.up_proj" for number in range(40))
WARNS = Checked(
    (
        Finding(
            "caveat",
            "warns",
            "vLLM loads these layers under a condition",
            "Why.",
            LAYERS,
            (Fix("Use 4 bits", FIXED), Fix("Export dense", target="dense")),
        ),
        Finding("disk", "fine", "Fits on the disk"),
    ),
    "",
    may_run=True,
    loads=True,
)
BLOCKS = Checked((Finding("disk", "blocks", "The disk is too small"),), "", may_run=False, loads=False)


@pytest.fixture
def flight(qapp, qtbot, session, opened):
    """A check on an opened document, and how often a run was started."""
    apply_theme(qapp, "light")
    opened.set_recipe(INT8, "Use it")
    started = []
    window = QPushButton()
    qtbot.addWidget(window)
    window.show()
    made = Preflight(session, window, start=lambda: started.append(opened.recipe), say=lambda _: None)
    made.started = started
    return made


def answer(client, checked):
    number = client.last(CheckRecipe)
    client.say(Finished(number, checked))
    return client.requests[number]


def test_run_starts_at_once_when_nothing_stands_in_the_way(flight, client, opened):
    flight.run()
    assert flight.started == []
    request = answer(client, FINE)
    assert (request.path, request.recipe, request.runtime) == (opened.checkpoint.path, INT8, "")
    assert flight.started == [INT8]
    assert flight.dialog is None


def test_run_opens_the_panel_when_there_is_something_to_decide(flight, client):
    flight.run()
    answer(client, WARNS)
    dialog = flight.dialog
    assert flight.started == []
    assert flight.waits_for_decision
    assert dialog.verdict.text() == "Ready, with 1 warning"
    assert dialog.run_button.text() == "Run anyway"
    assert [card.accessibleName() for card in dialog.cards] == [
        "Warnings: vLLM loads these layers under a condition",
        "Fine: Fits on the disk",
    ]
    dialog.run_button.click()
    assert flight.started == [INT8]
    assert flight.dialog is None


def test_what_was_accepted_is_not_asked_again_until_something_else_is_found(flight, client):
    flight.run()
    answer(client, WARNS)
    flight.dialog.run_button.click()
    flight.run()
    answer(client, WARNS)
    assert len(flight.started) == 2
    flight.run()
    other = Finding("larger", "warns", "2 layers would become larger")
    answer(client, Checked((*WARNS.findings, other), "", may_run=True, loads=True))
    assert len(flight.started) == 2
    assert flight.dialog is not None
    flight.dialog.reject()
    assert flight.dialog is None


def test_a_slow_check_says_so_and_starts_the_run_by_itself(flight, client, qtbot):
    flight.run()
    qtbot.waitUntil(lambda: flight.dialog is not None)
    assert flight.dialog.verdict.text() == "Checking …"
    answer(client, FINE)
    assert flight.dialog is None
    assert flight.started == [INT8]


def test_a_check_that_is_cancelled_starts_nothing(flight, client, qtbot):
    flight.run()
    qtbot.waitUntil(lambda: flight.dialog is not None)
    flight.dialog.reject()
    assert client.controls[-1] == (client.last(CheckRecipe), "cancel")
    answer(client, FINE)
    assert flight.started == []
    assert flight.dialog is None


def test_what_blocks_cannot_be_run(flight, client):
    flight.show()
    assert flight.dialog.verdict.text() == "Checking …"
    assert not flight.dialog.run_button.isEnabled()
    answer(client, BLOCKS)
    assert flight.dialog.verdict.text() == "This cannot run yet"
    assert not flight.dialog.run_button.isEnabled()


def test_the_check_opens_the_panel_always(flight, client):
    flight.show()
    answer(client, FINE)
    assert flight.dialog.verdict.text() == "Ready to run"
    assert flight.dialog.run_button.isEnabled()
    assert flight.started == []


def test_a_fix_is_one_undoable_click_and_is_checked_again(flight, client, opened):
    flight.run()
    answer(client, WARNS)
    flight.dialog.cards[0].buttons[0].click()
    assert opened.recipe == FIXED
    assert opened.undo.undoText() == "Use 4 bits"
    assert not flight.dialog.run_button.isEnabled()
    assert answer(client, FINE).recipe == FIXED
    assert flight.dialog.verdict.text() == "Ready to run"
    opened.undo.undo()
    assert opened.recipe == INT8


def test_a_fix_may_choose_another_target(flight, client):
    flight.show()
    answer(client, WARNS)
    flight.dialog.cards[0].buttons[1].click()
    assert flight.dialog.chosen_target == "dense"
    assert answer(client, FINE).target == "dense"


def test_another_runtime_is_checked_and_remembered(flight, client):
    flight.show()
    answer(client, FINE)
    box = flight.dialog.runtime
    box.setCurrentIndex(box.findData("vllm"))
    box.activated.emit(box.currentIndex())
    refused = Checked((Finding("fused", "blocks", "Not the same"),), "vllm", may_run=True, loads=False)
    assert answer(client, refused).runtime == "vllm"
    assert flight.dialog.verdict.text() == "It can run, but vLLM would not load the result"
    assert flight.dialog.run_button.text() == "Run anyway"
    flight.dialog.reject()
    flight.run()
    assert client.requests[client.last(CheckRecipe)].runtime == "vllm"


def test_an_answer_about_an_older_recipe_is_asked_again(flight, client, opened):
    flight.run()
    first = client.last(CheckRecipe)
    opened.set_recipe(FIXED, "Another")
    client.say(Finished(first, FINE))
    assert flight.started == []
    assert answer(client, FINE).recipe == FIXED
    assert flight.started == [FIXED]


def test_a_check_that_fails_is_said_and_stops_nobody(flight, client):
    flight.run()
    client.say(Failed(client.last(CheckRecipe), "The memory ran out", "", "Close other programs."))
    assert flight.dialog.cards[0].finding.title == "The check failed: The memory ran out"
    assert flight.dialog.run_button.isEnabled()


def test_a_forecast_is_made_on_request_and_checked_again(flight, client):
    flight.show()
    unknown = Finding("time unknown", "tells", "How long it takes is not forecast yet")
    answer(client, Checked((unknown,), "", may_run=True, loads=True))
    assert flight.dialog.forecast_button.isVisible()
    checks = len(client.numbers(CheckRecipe))
    flight.dialog.forecast_button.click()
    assert client.requests[client.last(ForecastJob)].recipe == INT8
    assert not flight.dialog.run_button.isEnabled()
    here = Estimate(1.0, 1.0, 1.0)
    client.say(Finished(client.last(ForecastJob), JobForecast(here, here, 1)))
    assert len(client.numbers(CheckRecipe)) == checks + 1
    answer(client, FINE)
    assert not flight.dialog.forecast_button.isVisible()


def test_layers_unfold(qapp, qtbot):
    apply_theme(qapp, "dark")
    card = FindingCard(WARNS.findings[0])
    qtbot.addWidget(card)
    card.show()
    assert card.fold.text() == "40 layers"
    assert not card.names.isVisible()
    card.fold.click()
    assert card.names.isVisible()
    assert card.names.toPlainText().splitlines() == list(LAYERS)


def test_what_is_fine_is_folded_and_stays_as_it_was_put(qtbot):
    dialog = PreflightDialog("", "auto")
    qtbot.addWidget(dialog)
    dialog.show()
    dialog.show_checked(WARNS, "int8 on tiny")
    assert [card.isVisible() for card in dialog.cards] == [True, False]
    dialog._sections["fine"].button.setChecked(True)
    dialog.show_checked(WARNS, "int8 on tiny")
    assert [card.isVisible() for card in dialog.cards] == [True, True]


def test_buttons_flow_into_as_many_lines_as_they_need(qtbot):
    host = QWidget()
    qtbot.addWidget(host)
    flow = FlowLayout(host, spacing=8)
    buttons = [QPushButton("Use groups of 64 (divides these 40 layers)") for _ in range(3)]
    for button in buttons:
        flow.addWidget(button)
    host.show()
    width, line = buttons[0].sizeHint().width(), buttons[0].sizeHint().height()
    assert flow.heightForWidth(3 * width + 16) == line
    assert flow.heightForWidth(2 * width + 8) == 2 * line + 8
    assert flow.heightForWidth(50) == 3 * line + 16
    assert flow.takeAt(5) is None
    assert flow.takeAt(0).widget() is buttons[0]
