"""Budgets of bits in rules: read, written, refused, and held by the presets where large groups do not divide."""

from __future__ import annotations

import pytest

from benchvise.core.errors import RecipeError
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.presets import load_preset, presets
from benchvise.core.recipe.recipe import parse_recipe
from tests.core.recipe.network_samples import layer

BUDGETS = {f"{kind}-{bits}bit": bits + 0.25 for kind in ("quick", "best") for bits in (2, 3, 4)} | {
    "distilled-2.25bit": 2.25
}
INT3 = "scheme: {method: integer, bits: 3, symmetric: false}"


@pytest.mark.parametrize("width", [192, 576, 960, 1948, 4096])
def test_presets_hold_their_bits_on_any_width(width):
    found = {preset.name: preset.bits_per_weight for preset in presets((layer("up", (64, width)),))}
    assert {name: found[name] for name in BUDGETS} == pytest.approx(BUDGETS)


@pytest.mark.parametrize(
    ("rule", "said"),
    [
        (f"budget: true, {INT3}", "must be a number"),
        (f"budget: -1, {INT3}", "must be a number"),
        (f"budget: 3.25bpw, {INT3}", "must be a number"),
        ("budget: 3.25, scheme: {method: floating, number: e4m3}", "no integers whose bits differ"),
    ],
)
def test_budgets_that_cannot_be(rule, said):
    with pytest.raises(RecipeError, match=said) as refused:
        parse_recipe(f"benchvise: 1\nrules:\n- {{targets: [linears], {rule}}}", where="my.yaml")
    assert "my.yaml, rule 1" in str(refused.value)


def test_a_budget_is_part_of_the_recipe():
    recipe = load_preset("quick-3bit")
    again = parse_recipe(recipe.to_yaml(), where="again")
    assert (again, again.rules[0].budget, again.digest) == (recipe, 3.25, recipe.digest)
    without = parse_recipe(recipe.to_yaml().replace("  budget: 3.25\n", ""), where="without")
    assert without.rules[0].budget is None
    assert without.digest != recipe.digest


def test_a_layer_that_is_decided_does_not_join_the_rule_that_shares_out():
    recipe = load_preset("quick-3bit")
    named = layer("up", (64, 128))
    changed = treat(recipe, [named], [recipe.rules[0].treatment])
    assert changed.rules[0] == recipe.rules[0]
    assert (changed.rules[1].targets, changed.rules[1].budget) == ((named.name,), None)
