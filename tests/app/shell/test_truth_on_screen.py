"""What stands on the screen, pixel by pixel, is what the document says."""

import pytest
from PySide6.QtWidgets import QLabel

from benchvise.app.layers.panel import LayersPanel
from benchvise.app.shell.scoreboard import Scoreboard
from benchvise.core.protocol.budget import BITS, Budget
from benchvise.core.protocol.events import Partial
from benchvise.core.protocol.requests import Allocate, Compress, MakePlan, MeasureSensitivity
from benchvise.core.protocol.results import LayerCompressed, SensitivityCell
from benchvise.core.recipe.presets import load_preset
from tests.app.allocations import RUNGS, allocate, linears
from tests.app.screen import on_screen, painted_anew


@pytest.fixture
def tree(qtbot, opened):
    panel = LayersPanel(opened)
    qtbot.addWidget(panel)
    panel.resize(600, 600)
    panel.show()
    qtbot.waitExposed(panel)
    panel._show_checkpoint()
    opened.select(())
    panel.view.clearSelection()
    qtbot.wait(100)
    return panel


def test_the_tree_shows_another_recipe_in_the_rows_of_open_folders(tree, opened, client, checkpoint, qtbot):
    before = on_screen(tree.view.viewport())
    opened.set_recipe(load_preset("int8-channel"), "Preset int8-channel")
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 2)
    client.plan(checkpoint)
    qtbot.wait(100)
    after = on_screen(tree.view.viewport())
    assert after != before
    assert after == painted_anew(tree.view.viewport())
    opened.undo.undo()
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 3)
    client.plan(checkpoint)
    qtbot.wait(100)
    assert on_screen(tree.view.viewport()) == before


def finished_run(opened, client):
    number = client.ask(Compress(opened.checkpoint.path, opened.recipe))
    client.say(Partial(number, LayerCompressed(opened.checkpoint.layers[2].name, "int8", 40.0, 0.1, 0, 2, 1, 8.0, 1.0)))


def measured_cell(opened, client):
    number = client.ask(MeasureSensitivity(opened.checkpoint.path, "", ()))
    kept = opened.treatment_of(2).key
    client.say(Partial(number, SensitivityCell(opened.checkpoint.layers[2].name, "keep", 0.1, key=kept)))


def allocation(opened, client):  # noqa: ARG001
    name = linears(opened.checkpoint)[0].name
    request = Allocate(
        opened.checkpoint.path, opened.recipe, "key", RUNGS, Budget(BITS, 5.0), locked=((name, RUNGS[0]),)
    )
    opened.put_allocation(allocate(opened.checkpoint, request), "Budget 5 bits")


def locks(opened, client):  # noqa: ARG001
    opened.lock([opened.checkpoint.layers[2].name], locked=True)


@pytest.mark.parametrize("change", [finished_run, measured_cell, allocation, locks])
def test_the_tree_shows_what_changes_elsewhere(tree, opened, client, qtbot, change):
    """In rows of open folders, which no click has touched."""
    tree.resize(900, 600)
    qtbot.wait(50)
    before = on_screen(tree.view.viewport())
    change(opened, client)
    qtbot.waitUntil(lambda: on_screen(tree.view.viewport()) != before)
    qtbot.wait(300)
    assert on_screen(tree.view.viewport()) == painted_anew(tree.view.viewport())


def test_the_strip_says_what_its_bits_are_of(session, opened, client, checkpoint, qtbot):
    strip = Scoreboard(session)
    qtbot.addWidget(strip)
    opened.set_recipe(load_preset("int8-channel"), "Preset int8-channel")
    qtbot.waitUntil(lambda: len(client.numbers(MakePlan)) == 2)
    client.plan(checkpoint)
    plan = opened.plan
    said = f"{plan.bits_per_treated_weight:.2f} compressed · {plan.bits_per_weight:.2f} overall"
    assert said in " ".join(label.text() for label in strip.findChildren(QLabel))
