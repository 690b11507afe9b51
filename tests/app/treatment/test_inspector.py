from dataclasses import dataclass
from typing import ClassVar

import pytest
from PySide6.QtCore import Qt

from benchvise.app.treatment.panel import InspectorPanel
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.registry import SOLVERS
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.recipe.recipe import Treatment


@dataclass(frozen=True)
class Picky(Solver):
    key: ClassVar[str] = "picky"
    title: ClassVar[str] = "Picky"
    summary: ClassVar[str] = "Serves schemes with scales."
    source: ClassVar[str] = "this test"

    def needs(self, scheme):  # noqa: ARG002
        return "inputs"

    def refusal(self, scheme):
        return "" if "scale" in scheme.capabilities else "picky needs scales"


@pytest.fixture
def picky(monkeypatch):
    monkeypatch.setitem(SOLVERS, "picky", Picky)


@pytest.fixture
def inspector(qtbot, opened, client):
    made = InspectorPanel(opened, client)
    qtbot.addWidget(made)
    return made


def set_scheme(inspector, key):
    inspector.scheme_combo.activated.emit(inspector.scheme_combo.findData(key))


def test_one_edit_over_many_layers_is_one_step(inspector, opened):
    opened.select((2, 3, 4))
    inspector.refresh()
    set_scheme(inspector, "integer")
    inspector.scheme_form.editors["bits"].box.setValue(6)
    assert opened.undo.undoText() == "Set bits to 6 on 3 layers"
    assert {opened.treatment_of(i).scheme.bits for i in (2, 3, 4)} == {6}
    opened.undo.undo()
    assert {opened.treatment_of(i).scheme.bits for i in (2, 3, 4)} == {4}
    opened.undo.undo()
    assert isinstance(opened.treatment_of(2).scheme, Keep)


def test_mixed_layers_keep_what_was_not_edited(inspector, opened):
    opened.treat((2, 3), (Treatment(Integer(bits=4)), Treatment(Integer(bits=8, symmetric=False))), "x")
    opened.select((2, 3))
    inspector.refresh()
    inspector.scheme_form.edited.emit("group_size", 32)
    assert opened.treatment_of(2).scheme == Integer(bits=4, group_size=32)
    assert opened.treatment_of(3).scheme == Integer(bits=8, symmetric=False, group_size=32)


def test_apply_makes_them_the_same(inspector, opened):
    opened.treat((2, 3), (Treatment(Integer(bits=4)), Treatment(Integer(bits=8))), "x")
    opened.select((2, 3))
    inspector.refresh()
    assert not inspector.apply_button.isHidden()
    inspector.apply_button.click()
    assert opened.treatment_of(3).scheme.bits == 4
    assert inspector.apply_button.isHidden()


def test_clip_search_shows_its_fields(inspector, opened):
    opened.select((2,))
    inspector.refresh()
    set_scheme(inspector, "integer")
    assert inspector.solver_form.shown_fields == ("clip_search",)
    inspector.solver_form.editors["clip_search"].box.click()
    assert inspector.solver_form.shown_fields == ("clip_search", "clip_steps", "clip_least", "importance")
    assert opened.undo.undoText() == "Switch search clipping on on 1 layer"


def test_layers_that_cannot_be_compressed_are_left_out(inspector, opened):
    opened.select((1, 2))
    inspector.refresh()
    set_scheme(inspector, "integer")
    assert opened.undo.undoText() == "Set scheme to Integer on 1 layer"
    opened.select((1,))
    inspector.refresh()
    assert "stays as it is" in inspector.what.text()


def test_forecast_of_the_selection(inspector, opened):
    opened.select((2,))
    inspector.refresh()
    assert inspector.forecast.text() == "16.4 kB · 32.00 bits per weight"


def choose(combo, key):
    combo.activated.emit(combo.findData(key))


@pytest.mark.usefixtures("picky")
def test_solvers_that_cannot_serve_the_scheme_are_grey_with_the_reason(inspector, opened):
    opened.select((2, 3))
    inspector.refresh()
    set_scheme(inspector, "integer")
    row = inspector.solver_combo.findData("picky")
    assert inspector.solver_combo.model().item(row).isEnabled()
    set_scheme(inspector, "sparse")
    assert not inspector.solver_combo.model().item(row).isEnabled()
    assert inspector.solver_combo.itemData(row, Qt.ItemDataRole.ToolTipRole) == "picky needs scales."


@pytest.mark.usefixtures("picky")
def test_a_scheme_that_the_solver_cannot_serve_takes_it_back_to_nearest(inspector, opened):
    opened.select((2,))
    inspector.refresh()
    set_scheme(inspector, "integer")
    choose(inspector.solver_combo, "picky")
    assert not inspector.calibration_button.isHidden()
    assert "128 samples of 256 tokens from the shipped text" in inspector.calibration_button.toolTip()
    set_scheme(inspector, "sparse")
    assert opened.treatment_of(2).solver == Nearest()
    assert opened.undo.undoText() == "Set scheme to Sparse and solver to Nearest on 1 layer"
    assert inspector.calibration_button.isHidden()


@pytest.mark.usefixtures("picky")
def test_the_way_to_the_calibration_text(inspector, opened, qtbot):
    opened.treat((2,), (Treatment(Integer(), Picky()),), "x")
    opened.select((2,))
    inspector.refresh()
    with qtbot.waitSignal(inspector.calibration_wanted):
        inspector.calibration_button.click()


def test_inputs_are_quantised_and_edited(inspector, opened):
    opened.select((2, 3))
    inspector.refresh()
    assert inspector._treating.isHidden()
    set_scheme(inspector, "integer")
    assert not inspector._treating.isHidden()
    assert inspector.inputs_form.isHidden()
    choose(inspector.inputs_combo, "8")
    assert opened.treatment_of(3).activations == Activations()
    assert opened.undo.undoText() == "Quantise inputs to 8 bits on 2 layers"
    inspector.inputs_form.edited.emit("mode", "static")
    assert opened.treatment_of(2).activations == Activations(mode="static")
    assert not inspector.calibration_button.isHidden()
    choose(inspector.inputs_combo, "")
    assert opened.treatment_of(2).activations is None
    assert opened.undo.undoText() == "Leave inputs as they come on 2 layers"


def test_mixed_inputs_are_said(inspector, opened):
    treatments = (Treatment(Integer()), Treatment(Integer(), Nearest(), Activations()))
    opened.treat((2, 3), treatments, "x")
    opened.select((2, 3))
    inspector.refresh()
    assert inspector.inputs_combo.currentIndex() == -1
    assert inspector.inputs_form.isHidden()
    choose(inspector.inputs_combo, "8")
    assert inspector.inputs_combo.currentData() == "8"
