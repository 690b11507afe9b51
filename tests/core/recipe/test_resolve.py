"""Looking single layers up gives what the plan does for all of them."""

import itertools
from pathlib import Path

import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.recipe.layer_matcher import block_count
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.recipe.resolve import RuleLookup

SAMPLE = str(Path(__file__).parents[3] / "resources" / "sample")
Q0, K0, UP1 = (
    "model.layers.0.self_attn.q_proj",
    "model.layers.0.self_attn.k_proj",
    "model.layers.1.mlp.up_proj",
)
RULES = [
    Rule(("linears",), Treatment(Integer(bits=8, group_size=4))),
    Rule((Q0, K0), Treatment(Integer(bits=4, group_size=4))),
    Rule((f"{Q0}.weight", UP1), Treatment(Integer(bits=5, group_size=4))),
    Rule(("*.q_proj", UP1), Treatment(Integer(bits=3, group_size=4)), ignore=("depth:1-2",)),
    Rule((K0, UP1), Treatment(Integer(bits=6, group_size=4)), ignore=(K0,)),
]


@pytest.mark.parametrize("order", list(itertools.permutations(range(len(RULES))))[::7])
def test_resolution_is_that_of_the_plan_whatever_the_order_of_rules(order):
    checkpoint = open_checkpoint(SAMPLE)
    recipe = Recipe(tuple(RULES[place] for place in order))
    plan = make_plan(checkpoint, recipe, allow_empty=True)
    resolution = RuleLookup(recipe, block_count(checkpoint.layers))
    for layer, place in zip(checkpoint.layers, plan.rules, strict=True):
        decided = resolution.rule_of(layer) if layer.compressible else None
        assert decided is (recipe.rules[place] if place >= 0 else None), layer.name
