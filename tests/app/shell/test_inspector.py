import pytest

from app.panels.inspector import InspectorPanel
from core.methods.integer import Integer
from core.methods.keep import Keep
from core.recipe.recipe import Treatment


@pytest.fixture
def inspector(qtbot, opened):
    made = InspectorPanel(opened)
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


def test_apply_makes_them_alike(inspector, opened):
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
    assert inspector.solver_form.shown_fields == ("clip_search", "clip_steps", "clip_least")
    assert opened.undo.undoText() == "Switch clip search on on 1 layer"


def test_layers_that_cannot_be_compressed_are_left_out(inspector, opened):
    opened.select((1, 2))
    inspector.refresh()
    set_scheme(inspector, "integer")
    assert opened.undo.undoText() == "Set scheme to Integer on 1 layer"
    opened.select((1,))
    inspector.refresh()
    assert "stays as it is" in inspector.what.text()


def test_the_recipe_is_shown_as_yaml(inspector, opened):
    opened.treat((2,), (Treatment(Integer(bits=5)),), "x")
    assert "bits: 5" in inspector.rules.text.toPlainText()


def test_forecast_of_the_selection(inspector, opened):
    opened.select((2,))
    inspector.refresh()
    assert inspector.forecast.text() == "16.4 kB · 32.00 bits per weight"
