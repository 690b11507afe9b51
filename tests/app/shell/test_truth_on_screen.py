"""What stands on the screen, pixel by pixel, is what the document says."""

import pytest

from benchvise.app.layers.panel import LayersPanel
from benchvise.core.protocol.requests import MakePlan
from benchvise.core.recipe.presets import load_preset
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
