"""The generations panel: asks both models, marks where they part."""

from __future__ import annotations

import pytest
from PySide6.QtGui import QTextCursor

from benchvise.app.compare.generations_panel import GenerationsPanel
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.results import Generation, Generations


@pytest.fixture
def panel(qtbot, shown, plots_document):
    panel = shown(GenerationsPanel)
    assert panel.empty.heading == "Run a recipe first"
    plots_document.set_active_run("r1")
    qtbot.waitUntil(lambda: panel.shows_content)
    return panel


def test_marks_the_first_difference_and_tints_the_others(panel, plots_client, plots_document):
    assert panel.waiting.isVisible()
    assert not panel.original.isVisible()
    panel.prompt.setText("Once")
    panel.generate()
    panel.generate()
    (request,) = plots_client.asked
    assert request.source == "run:r1"
    assert request.against == plots_document.checkpoint.path
    original = Generation((" a", " b", " c", " d"), (-0.1, -0.2, -0.3, -0.4))
    compressed = Generation((" a", " x", " c", " y"), (-0.5, -0.6, -0.7, -0.8))
    plots_client.answer(1, Generations("Once", original, compressed, 1))
    view = panel.compressed.view
    assert view.toPlainText() == "Once a x c y"
    assert view.isVisible()
    assert panel.note.text() == "The texts part at token 2 of 4."
    alphas = [_format(view, place).background().color().alpha() for place in (6, 8, 10, 12)]
    marked = [_format(view, place).background().style().value != 0 for place in (6, 8, 10, 12)]
    assert marked == [False, True, False, True]
    assert alphas[1] > alphas[3]
    assert "−0.600" in _format(view, 8).toolTip().replace("-", "−")
    assert panel.button.isEnabled()


def test_same_text_failed_and_stopped(panel, plots_client):
    panel.generate()
    same = Generation((" a",), (-0.1,))
    plots_client.answer(1, Generations("Once", same, same, None))
    assert panel.note.text() == "Both wrote the same 1 token."
    panel.generate()
    plots_client.answer(2, Failed(2, "No tokenizer", "", "Add one."))
    assert panel.note.text() == "No tokenizer. Add one."
    panel.generate()
    assert not panel.button.isEnabled()
    plots_client.stop(3)
    assert panel.button.isEnabled()


def test_another_run_drops_the_old_text(panel, plots_client, plots_document):
    panel.generate()
    plots_document.set_active_run("r2")
    same = Generation((" a",), (-0.1,))
    plots_client.answer(1, Generations("Once", same, same, None))
    assert not panel.original.view.toPlainText()


def _format(view, position):
    cursor = QTextCursor(view.document())
    cursor.setPosition(position)
    return cursor.charFormat()
