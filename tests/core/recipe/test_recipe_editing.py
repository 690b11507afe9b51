from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from tests.core.recipe.network_samples import checkpoint, layer, network

LAYERS = network()
TREATABLE = [index for index, one in enumerate(LAYERS) if one.compressible]
INT4 = Treatment(Integer(4, granularity="channel"))
INT8 = Treatment(Integer(8, granularity="channel"))
HALF = Treatment(Sparse())
START = Recipe((Rule(("linears",), INT4, ("*.down",)), Rule(("role:attention.*",), INT8)), "start", "words")

edits = st.lists(
    st.tuples(st.lists(st.sampled_from(TREATABLE), unique=True, min_size=1), st.sampled_from([INT4, INT8, HALF, KEEP])),
    max_size=12,
)


def treatments(recipe: Recipe) -> list[Treatment]:
    plan = make_plan(checkpoint(), recipe, allow_empty=True)
    return [row.treatment for row in plan.rows()]


@given(edits, st.sampled_from([START, Recipe()]))
def test_edits_set_what_they_name_and_nothing_else(done: list[tuple[list[int], Treatment]], start: Recipe) -> None:
    recipe = start
    expected = treatments(start)
    for chosen, treatment in done:
        recipe = treat(recipe, [LAYERS[index] for index in chosen], [treatment] * len(chosen))
        for index in chosen:
            expected[index] = treatment
        assert treatments(recipe) == expected
    assert len(recipe.rules) <= len(start.rules) + len({treatment for _, treatment in done})
    listed = [target for rule in recipe.rules for target in rule.targets]
    assert len(listed) == len(set(listed))


def test_rules_with_patterns_stay_as_written() -> None:
    recipe = treat(START, [LAYERS[4]], [HALF])
    assert recipe.rules[:2] == START.rules
    assert recipe.rules[2] == Rule((LAYERS[4].name,), HALF)


def test_going_back_and_forth_leaves_one_rule() -> None:
    recipe = START
    for _ in range(50):
        for treatment in (HALF, KEEP, INT8):
            recipe = treat(recipe, LAYERS[1:4], [treatment] * 3)
    assert len(recipe.rules) == 2
    assert recipe.rules[1].targets == ("role:attention.*", *(one.name for one in LAYERS[1:4]))


def test_an_edited_recipe_no_longer_has_the_name_of_a_preset() -> None:
    recipe = treat(START, [LAYERS[4]], [HALF])
    assert (recipe.name, recipe.description, recipe.seed) == ("", "", START.seed)


def test_one_edit_may_give_each_layer_its_own_treatment() -> None:
    recipe = treat(Recipe(), LAYERS[1:5], [INT4, INT8, INT4, INT8])
    assert recipe.rules == (
        Rule((LAYERS[1].name, LAYERS[3].name), INT4),
        Rule((LAYERS[2].name, LAYERS[4].name), INT8),
    )


def test_a_name_that_looks_like_a_pattern_names_one_layer() -> None:
    odd = (layer("blocks.[0].w", (8, 8)), layer("blocks.0.w", (8, 8)), layer("all", (8, 8)))
    for chosen in range(3):
        recipe = treat(Recipe(), [odd[chosen]], [INT4])
        plan = make_plan(checkpoint(*odd), recipe)
        assert [row.layer for row in plan.treated_rows] == [odd[chosen]]
        again = treat(recipe, [odd[chosen]], [INT8])
        assert len(again.rules) == 1
