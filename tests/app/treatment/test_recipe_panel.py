from dataclasses import dataclass
from typing import ClassVar

import pytest

from benchvise.app.treatment.recipe_panel import RecipePanel, learners_of
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.drop_blocks import DropBlocks
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.polish import Polish
from benchvise.core.methods.registry import TRANSFORMS
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.transform import Transform
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.settings import setting


@dataclass(frozen=True)
class Stretch(Transform):
    key: ClassVar[str] = "stretch"
    title: ClassVar[str] = "Stretch"
    summary: ClassVar[str] = "Stretches."
    source: ClassVar[str] = "this test"
    reach: ClassVar[str] = "block"

    strength: float = setting(0.5, title="Strength", help="How much.", minimum=0.0, maximum=1.0)


@dataclass(frozen=True)
class Turn(Stretch):
    key: ClassVar[str] = "turn"
    title: ClassVar[str] = "Turn"
    reach: ClassVar[str] = "network"


@pytest.fixture(autouse=True)
def transforms(monkeypatch):
    for kind in (Stretch, Turn):
        monkeypatch.setitem(TRANSFORMS, kind.key, kind)


@pytest.fixture
def panel(qtbot, opened):
    made = RecipePanel(opened)
    qtbot.addWidget(made)
    return made


def titles(panel):
    return [type(transform).title for transform in panel.transforms._document.recipe.transforms]


def test_the_recipe_is_shown_as_yaml_while_it_is_seen(panel, opened, qtbot):
    opened.treat((2,), (Treatment(Integer(bits=5)),), "x")
    assert not panel.rules.text.toPlainText()
    panel.show()
    qtbot.waitUntil(lambda: "bits: 5" in panel.rules.text.toPlainText())
    opened.treat((2,), (Treatment(Integer(bits=6)),), "x")
    qtbot.waitUntil(lambda: "bits: 6" in panel.rules.text.toPlainText())


def test_transforms_are_added_moved_edited_and_removed_as_one_step_each(panel, opened):
    view = panel.transforms
    view.add("stretch")
    view.add("turn")
    assert opened.undo.undoText() == "Add Turn"
    assert titles(panel) == ["Stretch", "Turn"]
    assert (view.cards[0].up.isEnabled(), view.cards[0].down.isEnabled()) == (False, True)
    view.cards[1].up.click()
    assert (titles(panel), opened.undo.undoText()) == (["Turn", "Stretch"], "Carry out Turn earlier")
    view.cards[1].form.editors["strength"].box.setValue(0.75)
    assert opened.recipe.transforms == (Turn(), Stretch(strength=0.75))
    assert opened.undo.undoText() == "Stretch: Set strength to 0.75"
    view.cards[0].remove.click()
    assert (titles(panel), opened.undo.undoText()) == (["Stretch"], "Remove Turn")
    assert opened.undo.count() == 5
    for _ in range(5):
        opened.undo.undo()
    assert opened.recipe == Recipe()
    assert view.cards == []


def test_a_form_stays_while_its_transform_is_edited(panel, opened):
    panel.transforms.add("stretch")
    card = panel.transforms.cards[0]
    card.form.editors["strength"].box.setValue(0.25)
    assert panel.transforms.cards[0] is card
    opened.undo.undo()
    assert card.form.editors["strength"].box.value() == 0.5


def test_the_menu_offers_every_transform_once(panel):
    panel.transforms.add("turn")
    panel.transforms.menu.aboutToShow.emit()
    offered = {action.text(): action for action in panel.transforms.menu.actions()}
    assert set(offered) == {kind.title for kind in TRANSFORMS.values()}
    assert (offered["Turn"].isEnabled(), offered["Turn"].toolTip()) == (False, "It is in the recipe already.")
    assert (offered["Stretch"].isEnabled(), offered["Stretch"].toolTip()) == (True, "Stretches.")


def test_tuning_steps_are_added_and_edited(panel, opened):
    panel.tuning.add("polish")
    assert (opened.recipe.tuning, opened.undo.undoText()) == ((Polish(),), "Add Polish")
    panel.tuning.cards[0].form.edited.emit("steps", 7)
    assert opened.recipe.tuning == (Polish(steps=7),)
    panel.tuning.cards[0].remove.click()
    assert opened.recipe.tuning == ()


def test_surgery_is_added_and_its_blocks_are_typed(panel, opened):
    panel.surgery.add("drop_blocks")
    editor = panel.surgery.cards[0].form.editors["blocks"]
    editor.line.setText("3, 0-1")
    editor.line.editingFinished.emit()
    assert opened.recipe.surgery == (DropBlocks((0, 1, 3)),)
    assert opened.undo.undoText() == "Drop blocks: Set blocks to 0, 1, 3"
    editor.line.setText("the last")
    editor.line.editingFinished.emit()
    assert (editor.line.text(), opened.recipe.surgery) == ("0, 1, 3", (DropBlocks((0, 1, 3)),))


def test_calibration_is_edited_and_says_who_reads_it(panel, opened):
    assert panel.calibration.said.text().startswith("No method in this recipe uses calibration text")
    panel.calibration.form.edited.emit("text", "mine.txt")
    assert opened.recipe.calibration == Calibration("mine.txt")
    assert opened.undo.undoText() == "Calibration: Set text to mine.txt"
    panel.calibration.form.edited.emit("windows", 9)
    panel.calibration.form.edited.emit("text", "")
    assert opened.undo.undoText() == "Calibration: Set text to the shipped text"
    panel.transforms.add("stretch")
    panel.transforms.add("turn")
    assert panel.calibration.said.text() == "Read by: Stretch."


def test_dragging_a_slider_is_one_step(panel, opened):
    panel.transforms.add("stretch")
    before = opened.undo.count()
    for place in (100, 200, 300):
        panel.transforms.cards[0].form.editors["strength"].slider.setValue(place)
    assert opened.undo.count() == before + 1
    assert opened.recipe.transforms == (Stretch(strength=0.3),)


def test_everything_that_learns_is_named_once():
    weighted = Nearest(clip_search=True, importance=True)
    rules = (
        Rule(("linears",), Treatment(Integer(), weighted, Activations(mode="static"))),
        Rule(("a",), Treatment(Integer(8), weighted)),
        Rule(("b",), Treatment(Integer(8), Nearest(), Activations())),
    )
    recipe = Recipe(rules, transforms=(Turn(), Stretch()), tuning=(Polish(),))
    assert learners_of(recipe) == ("Stretch", "Nearest", "fixed scales of inputs", "Polish")
    assert learners_of(Recipe(rules[2:])) == ()
    assert not Recipe(rules[2:]).needs_calibration


def test_nothing_can_be_edited_without_a_checkpoint(qtbot, document):
    panel = RecipePanel(document)
    qtbot.addWidget(panel)
    assert not panel.tuning.add_button.isEnabled()
    assert not panel.calibration.isEnabled()
    assert not panel.transforms.add_button.isEnabled()
