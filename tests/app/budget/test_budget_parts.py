"""Parts of the budget that know no panel: kinds and ranges, the ladder, one question at a time, the table's model."""

import math

import numpy as np
import pytest
from PySide6.QtCore import QObject, Qt

from benchvise.app.budget.kinds import (
    KINDS,
    STEPS,
    budget_at,
    choices_of,
    front_of,
    range_of,
    step_of,
    unit_of,
    value_at,
)
from benchvise.app.budget.model import AllocationModel, allocation_of, change_text, cost_text, why
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.state.candidate_treatments import ladder, offered
from benchvise.app.widgets.checklist import CheckList, Entry
from benchvise.core.allocate.sizes import size_candidates
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.budget import BITS, BYTES, DIVERGENCE, LATENCY, MEMORY, Budget
from benchvise.core.protocol.events import Finished, Stopped
from benchvise.core.protocol.requests import Allocate, SizeCandidates
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from tests.app.allocations import RUNGS, allocate, linears

KIND = {kind.key: kind for kind in KINDS}


@pytest.fixture
def places(checkpoint):
    return [index for index, layer in enumerate(checkpoint.layers) if layer.kind == "linear"]


def asked(checkpoint, kind=BITS, value=5.0):
    return Allocate(checkpoint.path, Recipe(), "key", RUNGS, Budget(kind, value))


@pytest.fixture
def allocation(checkpoint):
    found = allocate(checkpoint, asked(checkpoint))
    index = {layer.name: place for place, layer in enumerate(checkpoint.layers)}
    sizes = np.array([layer.parameters for layer in checkpoint.layers])
    return allocation_of(found, index, sizes, frozenset({found.layers[0]}))


def sizes(checkpoint, places):
    names = tuple(checkpoint.layers[place].name for place in places)
    return size_candidates(SizeCandidates(checkpoint.path, names, RUNGS), checkpoint).nbytes


def test_ranges_are_exact_bytes_of_what_may_be_chosen(checkpoint, places):
    choices = choices_of(checkpoint, places, sizes(checkpoint, places), None)
    layers = linears(checkpoint)
    least = sum(RUNGS[0].bytes_after(layer) if layer.shape[1] % 32 == 0 else layer.nbytes for layer in layers)
    rest = checkpoint.nbytes - sum(layer.nbytes for layer in layers)
    assert range_of(BYTES, choices, None, ()) == (rest + least, checkpoint.nbytes)
    low, high = range_of(BITS, choices, None, ())
    assert low == pytest.approx(8 * least / sum(layer.parameters for layer in layers))
    assert high > 16
    assert range_of(DIVERGENCE, choices, None, (0.0, math.inf, 0.01, 0.5)) == (0.01, 0.5)
    low, high = range_of(BYTES, choices, None, ())
    assert range_of(MEMORY, choices, None, (), 500) == (low + 500, high + 500)


def test_slider_and_value_agree():
    for step in (0, 137, 500, STEPS):
        assert step_of(value_at(step, 0.01, 4.0), 0.01, 4.0) == step
    assert step_of(1.0, 2.0, 2.0) == 0
    assert step_of(99.0, 0.01, 4.0) == STEPS
    assert value_at(500, 2.0, 8.0) == pytest.approx(4.0)  # as far from 2 as from 8 bits
    assert value_at(500, 0.0, 0.0) == 0.0


def test_units_read_well():
    assert unit_of(BYTES, 6e9) == ("GB", 1e9)
    assert unit_of(MEMORY, 5e5) == ("kB", 1e3)
    assert [unit_of(kind, 1.0)[0] for kind in (BITS, LATENCY, DIVERGENCE)] == ["bits", "ms", "nats"]


@pytest.mark.parametrize("asked_for", [BITS, BYTES])
def test_a_point_of_the_front_is_reached_by_a_budget_of_any_kind(checkpoint, places, asked_for):
    found = allocate(checkpoint, asked(checkpoint, asked_for))
    choices = choices_of(checkpoint, places, sizes(checkpoint, places), found.planned)
    whole = front_of(found).cost
    assert whole[-1] == checkpoint.nbytes
    assert budget_at(BYTES, 1, found, choices, (0, 0)) == Budget(BYTES, whole[1])
    bits = budget_at(BITS, 1, found, choices, (0, 0)).value
    again = allocate(checkpoint, asked(checkpoint, BITS, bits))
    assert again.planned.total_after == whole[1]
    assert budget_at(DIVERGENCE, 1, found, choices, (0, 0)) == Budget(DIVERGENCE, found.front.kl[1])
    assert budget_at(MEMORY, 1, found, choices, (77, 1000)) == Budget(MEMORY, whole[1] + 1000, 77)


def test_the_ladder_takes_the_recipes_solver():
    recipe = Recipe((Rule(("linears",), Treatment(Integer(bits=4), ErrorFeedback())),))
    assert {type(treatment.solver) for treatment in ladder(recipe)} == {ErrorFeedback}
    tags = [treatment.tag for treatment in offered(recipe, KEEP, *ladder(recipe))]
    assert len(tags) == len(set(tags))


def test_one_request_at_a_time_and_the_newest_next(client, checkpoint):
    owner = QObject()
    latest = LatestRequest(client, owner, mode="queue_last")
    heard, stopped = [], []

    def ask(value):
        make = lambda: [asked(checkpoint, BITS, value)]  # noqa: E731 - made when it is sent
        latest.ask(make, lambda _, __: heard.append(value), lambda _, __: None, lambda: stopped.append(value))

    for value in (3.0, 4.0, 5.0):
        ask(value)
    assert len(client.numbers(Allocate)) == 1
    assert latest.waiting
    client.say(Finished(1, allocate(checkpoint, client.requests[1])))
    client.say(Stopped(2))
    ask(6.0)
    latest.drop()
    assert client.controls == [(3, "cancel")]
    client.say(Finished(3, allocate(checkpoint, client.requests[3])))
    assert heard == [3.0]
    assert stopped == [5.0]
    assert [client.requests[number].budget.value for number in (1, 2, 3)] == [3.0, 5.0, 6.0]
    assert not latest.pending


def test_the_table_is_a_proper_model(allocation, qtmodeltester):
    model = AllocationModel()
    model.show(allocation)
    qtmodeltester.check(model)
    for column in range(model.columnCount()):
        model.sort(column, Qt.SortOrder.DescendingOrder)
        assert model.rowCount() == len(allocation.names)
        assert model.data(model.index(0, column))
    model.show(allocation)
    model.keep_only(frozenset(allocation.names[:2]))
    qtmodeltester.check(model)
    assert model.rowCount() == 2


def test_figures_have_their_signs_and_reasons_are_sentences(allocation):
    assert cost_text(-1500, "bytes") == "−1.50 kB"
    assert cost_text(0.25, "ms") == "+0.25 ms"
    assert change_text(-0.0123) == "−0.0123"
    said = why(allocation, 0)
    assert said.startswith(f"{allocation.names[0]} gets int4 g32. It is locked. int8 g32 would cost ")
    assert "the last step elsewhere was bought at" in said
    assert said.endswith(".")


def test_a_checklist_tells_what_is_checked(qtbot):
    made = CheckList("Candidates", "help", add_hint="Add")
    qtbot.addWidget(made)
    made.show_entries([Entry("a", True), Entry("b", False)])
    assert made.text() == "Candidates (1)"
    with qtbot.waitSignal(made.changed):
        made.check("b", on=True)
    assert made.checked() == ("a", "b")
    with qtbot.waitSignal(made.added) as added:
        made.line.setText(" int3 ")
        made.line.returnPressed.emit()
    assert added.args == ["int3"]
