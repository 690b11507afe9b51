"""The budget panel: teaches, looks without touching, puts in place what is dragged to, and says why."""

from dataclasses import replace

import numpy as np
import pytest
from PySide6.QtCore import Qt

from benchvise.app.budget.fit_cards import fit_choices
from benchvise.app.budget.kinds import budget_title, front_of
from benchvise.app.budget.panel import BudgetPanel
from benchvise.app.state.candidate_treatments import ladder
from benchvise.app.state.decode_conditions import Conditions
from benchvise.core.allocate.sizes import size_candidates
from benchvise.core.methods.integer import Integer
from benchvise.core.protocol.budget import BITS, BYTES, DIVERGENCE, LATENCY, MEMORY, Budget
from benchvise.core.protocol.events import Failed, Finished, Started, Stopped
from benchvise.core.protocol.requests import Allocate, ForecastCosts, MakePlan, MeasureSensitivity, SizeCandidates
from benchvise.core.protocol.results import Estimate, Front, LayerCosts
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.text import kl_text
from tests.app.allocations import RUNGS, allocate, linears, measurement, sensitivity


@pytest.fixture
def empty(qtbot, opened, client):
    made = BudgetPanel(opened, client)
    qtbot.addWidget(made)
    made.resize(620, 700)
    made.show()
    qtbot.waitExposed(made)
    qtbot.waitUntil(lambda: bool(made.empty.heading))
    return made


def answer(client, checkpoint, number=None):
    number = number or client.last(Allocate)
    client.say(Finished(number, allocate(checkpoint, client.requests[number])))


@pytest.fixture
def panel(empty, qtbot, client, checkpoint):
    client.say(Finished(client.ask(measurement(checkpoint)), sensitivity(checkpoint)))
    qtbot.waitUntil(lambda: bool(client.numbers(SizeCandidates)))
    tell_sizes(client, checkpoint)
    answer(client, checkpoint)
    return empty


def tell_sizes(client, checkpoint):
    """Answer how many bytes each candidate takes of each layer."""
    number = client.last(SizeCandidates)
    client.say(Finished(number, size_candidates(client.requests[number], checkpoint)))


def test_the_engine_sizes_the_candidates_once(empty, client, checkpoint, qtbot, monkeypatch):
    """The window fits no treatment to a layer, whatever is chosen among them afterwards."""
    client.say(Finished(client.ask(measurement(checkpoint)), sensitivity(checkpoint)))
    qtbot.waitUntil(lambda: bool(client.numbers(SizeCandidates)))
    request = client.requests[client.last(SizeCandidates)]
    assert set(request.layers) == {layer.name for layer in linears(checkpoint)}
    assert request.treatments == RUNGS
    assert not client.numbers(Allocate)
    sizes = size_candidates(request, checkpoint)

    def refuse(*_):
        pytest.fail("the window fitted a treatment")

    monkeypatch.setattr(Integer, "fitted", refuse)
    client.say(Finished(client.last(SizeCandidates), sizes))
    assert len(client.numbers(Allocate)) == 1
    bits = 8 * sizes.nbytes.sum(axis=1) / sum(layer.parameters for layer in linears(checkpoint))
    for rungs in (RUNGS, RUNGS[1:], RUNGS[2:]):
        empty.controls.slider.setValue(9)
        empty.controls.slider.setValue(0)
        assert empty.controls.budget().value == pytest.approx(bits[len(RUNGS) - len(rungs)])
        empty.controls.candidates.check(rungs[0].tag, on=False)
    assert len(client.numbers(SizeCandidates)) == 1


def test_candidates_that_cannot_be_sized_are_told(empty, client, checkpoint, qtbot):
    client.say(Finished(client.ask(measurement(checkpoint)), sensitivity(checkpoint)))
    qtbot.waitUntil(lambda: bool(client.numbers(SizeCandidates)))
    client.say(Failed(client.last(SizeCandidates), "The folder is gone", "", "Open it again."))
    assert empty.problem.text() == "The folder is gone. Open it again."
    assert not client.numbers(Allocate)


def test_without_sensitivities_one_button_measures_what_is_needed(empty, client, qtbot, opened):
    assert empty.empty.heading == "Which layers deserve the bits?"
    empty.empty.button.click()
    number = client.last(MeasureSensitivity)
    request = client.requests[number]
    assert request.correct
    assert request.treatments == ladder(opened.recipe)
    assert [treatment.scheme.bits for treatment in request.treatments] == [2, 3, 4, 5, 6, 8]
    assert empty.empty.button.text() == "Cancel"
    empty.empty.button.click()
    assert (number, "cancel") in client.controls
    client.say(Stopped(number))
    qtbot.waitUntil(lambda: empty.empty.button.text() == "Measure layers")
    empty.empty.button.click()
    client.say(Started(client.last(MeasureSensitivity)))
    client.say(Failed(client.last(MeasureSensitivity), "No tokenizer", "", "Add tokenizer.json."))
    qtbot.waitUntil(lambda: empty.empty.text == "No tokenizer. Add tokenizer.json.")


def test_looking_alone_changes_nothing(panel, opened, client):
    before = opened.recipe
    assert panel.shows_content
    request = client.requests[client.last(Allocate)]
    assert request.budget.kind == BITS
    assert request.candidates == RUNGS
    assert request.sensitivity == "measured"
    assert opened.recipe is before
    assert opened.undo.count() == 0
    assert panel.controls.apply.isVisible()
    panel.controls.apply.click()
    assert len(client.numbers(Allocate)) == 2


def test_dragging_asks_one_at_a_time_and_puts_the_newest_in_place(panel, opened, client, checkpoint, qtbot):
    plans = len(client.numbers(MakePlan))
    panel.controls.slider.setValue(100)
    for step in (200, 300, 900):
        panel.controls.slider.setValue(step)
    assert len(client.numbers(Allocate)) == 2
    answer(client, checkpoint)
    assert len(client.numbers(Allocate)) == 3
    answer(client, checkpoint)
    assert opened.undo.count() == 1
    assert opened.plan_is_current
    assert opened.predicted_kl is not None
    assert not panel.controls.apply.isVisible()
    assert panel.controls.budget().value == pytest.approx(client.requests[client.last(Allocate)].budget.value)
    qtbot.wait(100)
    assert len(client.numbers(MakePlan)) == plans
    assert f"≈{kl_text(opened.predicted_kl.value)}" in panel.said.text()


@pytest.mark.parametrize(
    ("budget", "title"),
    [
        (Budget(BITS, 4.25), "4.25 bits"),
        (Budget(BYTES, 10_651_504.8758), "10.7 MB"),
        (Budget(MEMORY, 28_105_982.7257, 4096), "28.1 MB at 4,096 tokens"),
        (Budget(LATENCY, 12.5), "12.5 ms"),
        (Budget(DIVERGENCE, 0.0182), "KL 0.0182"),
    ],
)
def test_undo_names_a_budget_as_people_read_it(budget, title):
    assert budget_title(budget) == title


PRESET = Recipe((Rule(("linears",), Treatment(Integer(bits=4, group_size=32))),), name="preset")


@pytest.mark.parametrize("waiting", [False, True])
def test_a_late_answer_does_not_replace_a_recipe_chosen_after_it(panel, opened, client, checkpoint, waiting):
    panel.controls.slider.setValue(100)
    if waiting:
        panel.controls.slider.setValue(900)
    opened.set_recipe(PRESET, "Preset")
    while panel.allocator.pending:
        answer(client, checkpoint)
    assert opened.recipe is PRESET
    assert opened.undo.count() == 1
    last = client.requests[client.last(Allocate)]
    assert last.budget == panel.controls.budget(), "the picture follows the controls all the same"
    assert panel.controls.apply.isVisible()


def test_nor_does_an_answer_that_waited_for_times(panel, opened, client, checkpoint):
    panel.share_out(Budget(LATENCY, 3.0))
    opened.set_recipe(PRESET, "Preset")
    tell_times(client, checkpoint)
    answer(client, checkpoint)
    assert opened.recipe is PRESET


def test_a_budget_that_cannot_be_met_is_told_and_the_last_good_one_stays(panel, opened, client, checkpoint):
    panel.controls.slider.setValue(600)
    answer(client, checkpoint)
    good, shown = opened.recipe, panel.allocation
    panel.controls.field.setValue(0.5)
    number = client.last(Allocate)
    client.say(Failed(number, "0.5 bits per weight cannot be met", "", "The least is 2.5; unlock a layer."))
    assert panel.problem.isVisible()
    assert panel.problem.text().startswith("0.5 bits per weight cannot be met. The least is 2.5")
    assert opened.recipe is good
    assert panel.allocation is shown
    panel.controls.slider.setValue(700)
    answer(client, checkpoint)
    assert not panel.problem.isVisible()


def test_locks_fused_and_candidates_are_asked_for(panel, opened, client, checkpoint):
    name = linears(checkpoint)[0].name
    opened.lock([name], locked=True)
    assert client.requests[client.last(Allocate)].locked == ((name, KEEP),)
    assert panel.controls.unlock.text() == "Include 1 layer again"
    panel.controls.fused.click()
    assert client.requests[client.last(Allocate)].fused
    panel.controls.candidates.check(RUNGS[0].tag, on=False)
    assert client.requests[client.last(Allocate)].candidates == RUNGS[1:]
    answer(client, checkpoint)
    assert panel.allocation.locked == {name}
    for rung in RUNGS[1:]:
        panel.controls.candidates.check(rung.tag, on=False)
    assert "at least one candidate" in panel.problem.text()
    panel.controls.unlock.click()
    assert not opened.locked


def test_another_kind_of_budget_converts_the_allocation_and_changes_nothing(panel, opened, client, checkpoint):
    panel.controls.slider.setValue(600)
    answer(client, checkpoint)
    recipe, steps, asked = opened.recipe, opened.undo.count(), len(client.numbers(Allocate))
    found = panel.allocation.allocated
    allocated = sum(layer.parameters for layer in linears(checkpoint))
    after = {layer.name: size for layer, size in zip(checkpoint.layers, found.planned.bytes_after, strict=True)}
    bits = 8 * sum(after[layer.name] for layer in linears(checkpoint)) / allocated
    expected = {BYTES: found.planned.total_after, DIVERGENCE: found.kl.value, BITS: bits}
    for kind, suffix in ((BYTES, "B"), (DIVERGENCE, "nats"), (MEMORY, "B"), (BITS, "bits")):
        panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(kind))
        budget = panel.controls.budget()
        assert budget.kind == kind
        assert panel.controls.field.suffix().endswith(suffix)
        assert (budget.context > 0) == (kind == MEMORY)
        assert panel.controls.context.isVisible() == (kind == MEMORY)
        if kind in expected:
            assert budget.value == pytest.approx(expected[kind])
    assert budget.context == 0
    assert len(client.numbers(Allocate)) == asked
    assert (opened.recipe, opened.undo.count()) == (recipe, steps)


def test_a_decode_time_is_that_of_the_allocation_and_changes_nothing(panel, opened, client, checkpoint):
    panel.controls.field.setValue(5.0)
    answer(client, checkpoint)
    recipe, steps = opened.recipe, opened.undo.count()
    assert panel.allocation.tag(0) == "int4 g32"
    panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(LATENCY))
    names = tell_times(client, checkpoint)
    assert panel.controls.budget().value == pytest.approx(1.0 + 0.2 * len(names))
    answer(client, checkpoint)
    assert (opened.recipe, opened.undo.count()) == (recipe, steps)


def tell_times(client, checkpoint, scale=1.0):
    """Answer what each choice takes; the names of the layers."""
    number = client.last(ForecastCosts)
    names = tuple(layer.name for layer in linears(checkpoint))
    times = scale * np.tile(np.array([0.4, 0.1, 0.2, 0.3]), (len(names), 1))
    treatments = client.requests[number].treatments
    tags, keys = (tuple(getattr(each, name) for each in treatments) for name in ("tag", "key"))
    sizes = np.zeros(times.shape, np.int64)
    rest = Estimate(scale, 0.9 * scale, 1.1 * scale)
    client.say(Finished(number, LayerCosts(names, tags, times, rest, 0.1, "here", False, "times", sizes, keys=keys)))
    return names


def test_a_budget_of_time_asks_first_what_each_choice_takes(panel, client, checkpoint):
    panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(LATENCY))
    number = client.last(ForecastCosts)
    assert client.requests[number].treatments == (KEEP, *RUNGS)
    assert "Forecasting" in panel.said.text()
    count = len(client.numbers(Allocate))
    names = tell_times(client, checkpoint)
    assert len(client.numbers(Allocate)) == count + 1
    assert client.requests[client.last(Allocate)].costs == "times"
    panel.controls.slider.setValue(0)
    assert panel.controls.budget().value == pytest.approx(1.0 + 0.1 * len(names))


def test_a_budget_of_time_is_meant_for_the_conditions_of_forecasts(panel, opened, client, checkpoint, tmp_path):
    opened.set_conditions(Conditions(4, 512))
    assert not client.numbers(ForecastCosts)
    panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(LATENCY))
    tell_times(client, checkpoint)
    answer(client, checkpoint)
    asked = client.requests[client.last(ForecastCosts)]
    assert (asked.batch, asked.context, asked.profile) == (4, 512, "")
    assert panel.controls.conditions.isVisible()
    assert panel.controls.conditions.text() == "4 × 512"
    panel.controls.conditions.menu().choose(Conditions(4, 512, "/laptop.json", "Laptop"))
    assert client.requests[client.last(ForecastCosts)].profile == "/laptop.json"
    assert panel.controls.conditions.text() == "4 × 512, Laptop"
    names = tell_times(client, checkpoint, scale=10.0)
    assert panel.controls.budget().value == pytest.approx(10.0 * (1.0 + 0.1 * len(names)))  # of the same allocation
    client.say(Failed(client.last(Allocate), "It cannot be met", "", "Ask for more."))
    assert "Forecasting" not in panel.said.text()
    panel.controls.conditions.menu().load(tmp_path / "nothing.json")
    assert "Check the path" in panel.problem.text()
    panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(BITS))
    assert not panel.controls.conditions.isVisible()


def test_a_budget_of_time_is_put_in_place_once_times_are_known(panel, opened, client, checkpoint):
    panel.share_out(Budget(LATENCY, 3.0))
    tell_times(client, checkpoint)
    answer(client, checkpoint)
    assert panel.controls.budget() == Budget(LATENCY, 3.0)
    assert opened.allocated is panel.allocation.allocated


def test_a_measurement_begun_elsewhere_can_be_cancelled_here(panel, opened, client, checkpoint):
    number = client.ask(measurement(checkpoint))
    assert panel.controls.measure.text() == "Cancel"
    panel.controls.measure.click()
    assert (number, "cancel") in client.controls
    client.say(Stopped(number))
    assert panel.controls.measure.text() == "Measure again"
    assert not opened.measuring


def test_a_click_on_the_front_goes_there(panel, opened, client, checkpoint):
    front = front_of(panel.allocation.allocated)
    panel.plot.point_chosen.emit(1)
    request = client.requests[client.last(Allocate)]
    assert request.budget.kind == BITS
    answer(client, checkpoint)
    assert opened.plan.total_after == front.cost[1]
    panel.controls.kinds.setCurrentIndex(panel.controls.kinds.findData(BYTES))
    panel.plot.point_chosen.emit(2)
    assert client.requests[client.last(Allocate)].budget.value == front.cost[2]


def test_the_table_says_why(panel, opened, client, checkpoint):
    panel.controls.field.setValue(5.0)
    answer(client, checkpoint)
    model = panel.table.model
    assert model.rowCount() == len(linears(checkpoint))
    name = linears(checkpoint)[3].name
    panel.table.view.selectRow(model.row_of(name))
    assert opened.current.name == name
    assert panel.why.text().startswith(f"{name} gets int4 g32.")
    assert "int8 g32 would cost" in panel.why.text()
    assert "int2 g32 would save" in panel.why.text()
    model.sort(5, Qt.SortOrder.DescendingOrder)
    assert model.row_of(linears(checkpoint)[-1].name) == 0
    assert opened.current.name == name
    panel.table.filter_line.setText("up_proj")
    assert model.rowCount() == 3
    panel.table.filter_line.setText("")
    menu = panel.table.context_menu()
    menu.actions()[0].trigger()
    assert len(opened.locked) == 1
    menu.deleteLater()


def test_refusals_stand_in_the_panel_and_not_among_the_problems(panel, client, session):
    panel.controls.slider.setValue(3)
    client.say(Failed(client.last(Allocate), "Too small", "", "Ask for more."))
    assert session.problems.count == 0
    panel.controls.slider.setValue(4)
    client.say(Failed(client.last(Allocate), "A fault", "", "", "Traceback …"))
    assert session.problems.count == 1


def test_uniform_recipes_stand_where_they_were_measured(panel, checkpoint):
    (point,) = panel.plot._view.uniform
    assert point.label == "int4 g32"
    expected = sum(
        kl_increase.kl for kl_increase in sensitivity(checkpoint).cells if kl_increase.treatment == "int4 g32"
    )
    assert point.y == pytest.approx(1.1 * expected)


def test_another_checkpoint_starts_anew(panel, opened, client, checkpoint, qtbot):
    panel.controls.slider.setValue(10)
    client.ask(measurement(checkpoint))
    assert panel.controls.measure.text() == "Cancel"
    opened.close_checkpoint()
    assert panel.controls.measure.text() == "Measure again"
    qtbot.waitUntil(lambda: panel.empty.heading == "No checkpoint is open")
    answer(client, checkpoint)
    assert panel.allocation is None


def test_three_choices_are_the_smallest_of_three_qualities(panel):
    allocated = panel.allocation.allocated
    more = allocated.planned.total_after - allocated.cost
    front = Front("bytes", np.array([100.0, 200, 300, 400, 500]), np.array([0.6, 0.09, 0.05, 0.019, 0.0005]))
    found = fit_choices(replace(allocated, front=front))
    assert [(one.title, one.place, one.nbytes - more) for one in found] == [
        ("Smaller", 1, 200),
        ("Balanced", 3, 400),
        ("Better", 4, 500),
    ]
    poor = Front("bytes", np.array([100.0, 200]), np.array([2.0, 0.6]))
    assert [one.place for one in fit_choices(replace(allocated, front=poor))] == [1]
    assert fit_choices(replace(allocated, front=Front("ms", np.array([1.0]), np.array([0.1])))) == ()


def test_a_card_puts_its_choice_in_place(panel, client, checkpoint):
    cards = [card for card in panel.cards.cards if card.isVisibleTo(panel)]
    assert cards
    asked = len(client.numbers(Allocate))
    cards[-1].click()
    assert len(client.numbers(Allocate)) > asked
    answer(client, checkpoint)
    assert panel.cards.cards[len(cards) - 1].isChecked()
