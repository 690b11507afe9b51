"""The sensitivity panel: asks once, fills as cells come, selects and treats from the map."""

from __future__ import annotations

import numpy as np
import pytest
from PySide6.QtGui import QGuiApplication

from app.panels.sensitivity import AT_FIRST, SensitivityPanel
from core.protocol.events import Failed
from core.protocol.requests import MeasureSensitivity
from core.protocol.results import Sensitivity, SensitivityCell


@pytest.fixture
def panel(shown):
    return shown(SensitivityPanel)


@pytest.fixture
def linears(sample):
    return [layer.name for layer in sample.layers if layer.kind == "linear"]


def fill(document, linears, tags=AT_FIRST, count=None):
    for row, tag in enumerate(tags):
        for column, name in enumerate(linears[:count]):
            document.sensitivity[name, tag] = SensitivityCell(name, tag, 10.0 ** (row - 5) * (column + 1))
    document.sensitivity_changed.emit()


def test_teaches_and_measures(qtbot, panel, plots_client, plots_document, linears):
    assert panel.empty.heading == "Which layers are fragile?"
    panel.empty.button.click()
    request = plots_client.asked[0]
    assert isinstance(request, MeasureSensitivity)
    assert tuple(treatment.tag for treatment in request.treatments) == AT_FIRST
    assert panel.shows_content
    assert not panel.measure.isEnabled()
    fill(plots_document, linears, count=3)
    qtbot.waitUntil(lambda: "9 of" in panel.plot.accessibleDescription())
    assert panel.table().kl.shape == (len(AT_FIRST), len(linears))
    plots_client.answer(1, Sensitivity((), 512, 1.0))
    assert panel.measure.isEnabled()


def test_cancelled_and_failed_leave_the_button_ready(qtbot, panel, plots_client):
    panel.empty.button.click()
    plots_client.stop(1)
    qtbot.waitUntil(panel.measure.isEnabled)
    panel.ask_measurement()
    plots_client.answer(2, Failed(2, "No tokenizer", "", "Add tokenizer.json."))
    qtbot.waitUntil(lambda: panel.empty.text == "No tokenizer. Add tokenizer.json.")
    assert not panel.shows_content


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
    panel.plot.treatment_chosen.emit(AT_FIRST[2])
    assert panel.plot.chosen == AT_FIRST[2]
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
    lines = QGuiApplication.clipboard().text().split("\n")
    assert lines[0].split("\t") == ["layer", *AT_FIRST]
    assert np.float32(lines[1].split("\t")[1]) == np.float32(1e-5)
    menu.deleteLater()


def test_no_damage_at_all_is_drawn(qtbot, panel, plots_document, linears):
    for name in linears:
        plots_document.sensitivity[name, "int8 channel"] = SensitivityCell(name, "int8 channel", 0.0)
    plots_document.sensitivity_changed.emit()
    qtbot.waitUntil(lambda: panel.shows_content)
    panel.plot.redraw_now()
    assert not panel.grab().isNull()
