"""The sensitivity panel: asks once, fills as cells come, selects and treats from the map."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtCore import QPointF, Qt
from PySide6.QtGui import QGuiApplication, QPainter, QPicture

from benchvise.app.sensitivity.choices import AT_FIRST
from benchvise.app.sensitivity.panel import SensitivityPanel
from benchvise.app.state.candidate_treatments import offered
from benchvise.app.state.sensitivity_results import Measurement
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity, SensitivityCell
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment


@pytest.fixture
def panel(shown):
    return shown(SensitivityPanel)


@pytest.fixture
def linears(sample):
    return [layer.name for layer in sample.layers if layer.kind == "linear"]


KEYS = {treatment.tag: treatment.key for treatment in offered(Recipe())}


def cell_of(name, tag, kl, **more):
    return SensitivityCell(name, tag, kl, key=KEYS[tag], **more)


def fill(document, linears, tags=AT_FIRST, count=None):
    for row, tag in enumerate(tags):
        for column, name in enumerate(linears[:count]):
            document.sensitivity[name, KEYS[tag]] = cell_of(name, tag, 10.0 ** (row - 5) * (column + 1))
    document.sensitivity_changed.emit()


def test_teaches_and_measures(qtbot, panel, plots_client, plots_document, linears):
    assert panel.empty.heading == "Which layers are fragile?"
    panel.empty.button.click()
    request = plots_client.asked[0]
    assert isinstance(request, MeasureSensitivity)
    assert tuple(treatment.tag for treatment in request.treatments) == AT_FIRST
    assert panel.shows_content
    assert panel.measure.text() == "Cancel"
    fill(plots_document, linears, count=3)
    qtbot.waitUntil(lambda: "9 of" in panel.plot.accessibleDescription())
    assert panel.table().kl.shape == (len(AT_FIRST), len(linears))
    plots_client.answer(1, Sensitivity((), 512, 1.0))
    assert panel.measure.text() == "Measure"


def test_cancelled_and_failed_leave_the_button_ready(qtbot, panel, plots_client):
    panel.empty.button.click()
    panel.measure.click()
    assert plots_client.controls == [(1, "cancel")]
    plots_client.stop(1)
    qtbot.waitUntil(lambda: panel.measure.text() == "Measure")
    panel.ask_measurement()
    plots_client.answer(2, Failed(2, "No tokenizer", "", "Add tokenizer.json."))
    qtbot.waitUntil(lambda: panel.empty.text == "No tokenizer. Add tokenizer.json.")
    assert not panel.shows_content


def test_a_measurement_begun_elsewhere_is_shown_and_can_be_cancelled_here(panel, plots_client, plots_document):
    number = plots_client.ask(MeasureSensitivity(plots_document.checkpoint.path, "", ()))
    assert panel.measure.text() == "Cancel"
    panel.ask_measurement()
    assert len(plots_client.asked) == 1
    panel.measure.click()
    assert plots_client.controls == [(number, "cancel")]
    plots_client.stop(number)
    assert panel.measure.text() == "Measure"


def test_orders(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    assert list(panel.table().layers) == linears
    panel.order.setCurrentIndex(2)
    assert list(panel.table().layers) == linears[::-1]
    panel.order.setCurrentIndex(1)
    roles = [label.split()[-1] for label in panel.table().labels]
    assert roles == sorted(roles)


def test_a_click_selects_and_chooses(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    panel.plot.layer_clicked.emit(linears[4])
    assert plots_document.current.name == linears[4]
    panel.plot.treatment_chosen.emit(KEYS[AT_FIRST[2]])
    assert panel.plot.chosen == KEYS[AT_FIRST[2]]
    view = panel.plot.map.getViewBox()
    centre = view.mapViewToScene(view.viewRect().center())
    row, column = panel.plot.cell_at(centre)
    assert row == 1
    assert abs(column - len(linears) // 2) <= 1


def test_the_menu_applies_the_treatment(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    view = panel.plot.map.getViewBox()
    menu = panel.plot.menu_at(view.mapViewToScene(view.viewRect().center()))
    menu.actions()[0].trigger()
    (indices, treatments), *_ = plots_document.treated
    assert treatments[0].tag == AT_FIRST[1]
    assert indices == plots_document.selection
    menu.actions()[1].trigger()
    assert plots_document.trial.tag == AT_FIRST[1]
    menu.actions()[2].trigger()
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0].split("\t") == ["layer", *AT_FIRST]
    assert np.float32(lines[1].split("\t")[1]) == np.float32(1e-5)
    menu.deleteLater()


def test_no_kl_increase_at_all_is_drawn(qtbot, panel, plots_document, linears):
    for name in linears:
        plots_document.sensitivity[name, KEYS["int8 channel"]] = cell_of(name, "int8 channel", 0.0)
    plots_document.sensitivity_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    assert not panel.grab().isNull()


def test_what_is_measured_can_be_chosen(panel, plots_client, plots_document, int4):
    choices = panel.choices
    plots_document.give(int4)
    choices.treatments.check("int8 channel", on=False)
    choices.treatments.line.setText("int5 g64 clip")
    choices.treatments.line.returnPressed.emit()
    choices.treatments.line.setText("nonsense")
    choices.treatments.line.returnPressed.emit()
    assert "names no treatment" in choices.treatments._said.text()
    choices.method.setCurrentIndex(choices.method.findData("auto"))
    choices.seconds.setValue(12)
    choices.correct.trigger()
    choices.text = "held-out.txt"
    panel.ask_measurement()
    request = plots_client.asked[-1]
    assert [treatment.tag for treatment in request.treatments] == ["int4 g128", "int3 g64", "int5 g64 clip"]
    assert (request.method, request.seconds, request.correct, request.text) == ("auto", 12.0, True, "held-out.txt")


def test_the_recipes_own_treatments_are_offered(panel, plots_document):
    plots_document.recipe = Recipe((Rule(("linears",), Treatment(Integer(bits=5), ErrorFeedback())),))
    plots_document.recipe_changed.emit()
    texts = panel.choices.treatments.texts()
    assert "int5 g128 gptq" in texts
    assert sum(text.endswith("asym gptq") for text in texts) == 6
    assert panel.choices.treatments.checked() == AT_FIRST


def test_forecasts_and_infinite_kl_increase_have_marks_of_their_own(qtbot, panel, plots_document, linears):
    for place, name in enumerate(linears):
        cell = cell_of(name, "int4 g128", 0.01 * (place + 1), method="fisher" if place % 2 else "enable_one")
        plots_document.sensitivity[name, KEYS["int4 g128"]] = cell
    broken = cell_of(linears[0], "int3 g64", np.inf, output_error=0.5, sqnr_db=3.0)
    plots_document.sensitivity[linears[0], KEYS["int3 g64"]] = broken
    plots_document.measurement = Measurement(Sensitivity((), 512, 1.0, rank_correlation=0.934, compared=17), ())
    plots_document.sensitivity_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    marks = panel.plot.marks
    assert marks.hatched.sum() == len(linears) // 2
    assert np.argwhere(marks.crossed).tolist() == [[1, 0]]
    assert "Rank correlation with 17 measured cells: 0.93." in panel.note.text()
    assert "no numbers" in panel.note.text()
    panel.plot.treatment_chosen.emit(KEYS["int3 g64"])
    panel.plot.redraw_now()
    assert not panel.grab().isNull()
    rows = list(panel.plot.data().rows)
    assert (linears[0], "int3 g64", "enable_one", 0.5, 3.0, np.inf) in rows


def test_hovering_tells_all_that_is_known(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    first = cell_of(linears[0], AT_FIRST[0], 0.25, output_error=0.012, sqnr_db=21.25)
    plots_document.sensitivity[linears[0], KEYS[AT_FIRST[0]]] = first
    plots_document.sensitivity_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    view = panel.plot.map.getViewBox()
    panel.plot.canvas.scene().sigMouseMoved.emit(view.mapViewToScene(QPointF(0.5, 0.5)))
    told = f"{linears[0]}:  {AT_FIRST[0]} KL 0.2500 measured alone, output error 0.012, SQNR 21.2 dB"
    assert panel.plot.readout.text() == told


def test_depth_by_role_shows_one_treatment(qtbot, panel, plots_document, sample, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.shown.setCurrentIndex(3)
    panel.plot.treatment_chosen.emit(AT_FIRST[1])
    panel.plot.redraw_now()
    board = panel.plot._board
    assert board.rows[0] == "attention.q"
    depths = sorted({layer.depth for layer in sample.layers if layer.kind == "linear"})
    assert board.columns == tuple(map(str, depths))
    role, depth = board.rows.index("mlp.down"), 2
    name = next(layer.name for layer in sample.layers if (layer.role, layer.depth) == ("mlp.down", 2))
    assert panel.plot._table.layers[board.layer[role, depth]] == name
    assert not panel.plot.bars_plot.isVisible()
    for shown in (0, 1, 2):
        panel.shown.setCurrentIndex(shown)
        panel.plot.redraw_now()
    assert not panel.plot.map.isVisible()


def test_every_row_of_the_map_says_its_treatment_however_long(qtbot, panel, plots_document, linears):
    tags = (*AT_FIRST, "int4 g128 asym · error feedback")
    KEYS.setdefault(tags[-1], "long")
    fill(plots_document, linears, tags)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    qtbot.wait(50)
    axis = panel.plot.map.getAxis("left")
    picture = QPicture()
    painter = QPainter(picture)
    _, _, written = axis.generateDrawSpecs(painter)
    painter.end()
    assert {text for _, _, text in written} >= set(tags)


def test_the_filter_takes_the_trees_words(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.filter_line.setText("role:mlp.down")
    assert len(panel.table().layers) == 5
    panel.filter_line.setText("re:(")
    assert len(panel.table().layers) == len(linears)
    assert "regular expression" in panel.filter_line.toolTip()


def test_the_keyboard_goes_from_cell_to_cell_and_applies(qtbot, panel, plots_document, linears):
    fill(plots_document, linears)
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    for key in (Qt.Key.Key_Right, Qt.Key.Key_Right, Qt.Key.Key_Down):
        qtbot.keyClick(panel.plot.canvas, key)
        panel.plot.redraw_now()
    assert plots_document.current.name == linears[1]
    assert panel.plot.chosen == KEYS[AT_FIRST[1]]
    qtbot.keyClick(panel.plot.canvas, Qt.Key.Key_Return)
    (indices, treatments), *_ = plots_document.treated
    assert treatments[0].tag == AT_FIRST[1]
    assert indices == plots_document.selection
