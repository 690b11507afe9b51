"""What if: the inspector tries a treatment on one layer, tells what it would do, and leaves the recipe alone."""

import pytest

from benchvise.app.treatment.panel import InspectorPanel
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.events import Failed, Finished
from benchvise.core.protocol.requests import WhatIf
from benchvise.core.protocol.results import WhatIfAnswer
from benchvise.core.recipe.recipe import KEEP, Treatment

INT4 = Treatment(Integer(bits=4, group_size=32))
INT2 = Treatment(Integer(bits=2, group_size=32))


@pytest.fixture
def inspector(qtbot, opened, client):
    opened.treat((2,), (INT4,), "x")
    opened.select((2,))
    made = InspectorPanel(opened, client)
    qtbot.addWidget(made)
    made.show()
    return made


def answer(client, number, kl=0.002):
    request = client.requests[number]
    bits = request.treatment.scheme.bits
    found = WhatIfAnswer(request.layer, request.treatment.tag, 5.0 * bits, 1000 * bits, kl, 0.01, 512, 0.3, ("a note",))
    client.say(Finished(number, found))


def words(inspector):
    return [(now.text(), then.text()) for now, then in inspector.what_if.table.values]


def test_a_try_is_told_beside_what_is_in_place(inspector, opened, client):
    view = inspector.what_if
    recipe = opened.recipe
    view.begin.click()
    assert opened.trial == INT4
    assert not view.apply.isEnabled()
    opened.try_out(INT2)
    asked = [client.requests[number].treatment for number in client.numbers(WhatIf)]
    assert asked == [INT4, INT2, INT4]
    first, last = client.numbers(WhatIf)[-2:]
    answer(client, first, kl=0.03)
    answer(client, last)
    assert words(inspector) == [("≈0.0020", "≈0.0300"), ("0.01", "0.01"), ("20", "10"), ("4.00 kB", "2.00 kB")]
    assert view.said.text() == "KL on 512 tokens. A note."
    assert opened.recipe is recipe
    view.apply.click()
    assert opened.trial is None
    assert opened.treatment_of(2) == INT2
    assert opened.undo.undoText() == "Set model.layers.0.attn.q_proj to int2 g32"


def test_what_is_known_is_not_asked_again(inspector, opened, client):
    opened.try_out(INT4)
    answer(client, client.last(WhatIf))
    count = len(client.numbers(WhatIf))
    opened.try_out(None)
    opened.try_out(INT4)
    assert len(client.numbers(WhatIf)) == count
    assert words(inspector)[0] == ("≈0.0020", "≈0.0020")


def test_the_form_edits_the_try_and_not_the_recipe(inspector, opened):
    opened.try_out(INT4)
    inspector.refresh()
    inspector.scheme_form.edited.emit("bits", 3)
    assert opened.trial.scheme.bits == 3
    assert opened.treatment_of(2) == INT4
    inspector.refresh()
    assert inspector.scheme_form.editors["bits"].box.value() == 3
    inspector.what_if.end.click()
    inspector.refresh()
    assert inspector.scheme_form.editors["bits"].box.value() == 4


def test_leaving_the_layer_ends_it(inspector, opened, client):
    opened.try_out(INT2)
    opened.select((3,))
    assert opened.trial is None
    assert inspector.what_if.begin.isVisible()
    numbers = client.numbers(WhatIf)
    assert {(number, "cancel") for number in numbers} <= set(client.controls)


def test_a_kept_layer_is_compared_with_itself_and_failures_are_told(inspector, opened, client):
    opened.treat((2,), (KEEP,), "x")
    inspector.what_if.begin.click()
    assert not opened.trial.keeps
    assert len(client.numbers(WhatIf)) == 1
    assert [now for now, _ in words(inspector)] == ["0", "0", "exact", "16.4 kB"]
    client.say(Failed(client.last(WhatIf), "The group does not divide", "q", "Use 32."))
    assert inspector.what_if.problem.text() == "The group does not divide. Use 32."


def test_only_one_layer_can_be_tried(inspector, opened):
    opened.select((2, 3))
    assert not inspector.what_if.isVisible()


def test_candidates_presets_and_the_default_ones_are_offered(inspector, opened):
    opened.try_out(INT2)
    combo = inspector.what_if.combo
    texts = [combo.itemText(row) for row in range(combo.count())]
    assert combo.currentText() == "int2 g32"
    assert len(texts) == len(set(texts))
    assert {"int8 channel", "int3 g64", "int5 g128 asym"} <= set(texts)
    combo.activated.emit(texts.index("int8 channel"))
    assert opened.trial.tag == "int8 channel"
