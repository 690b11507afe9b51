"""What a plan warning is about stands in its fields, whatever its sentence says."""

from __future__ import annotations

from pathlib import Path

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.recipe.resolve import UnmatchedPattern

SAMPLE = open_checkpoint(str(Path(__file__).parents[3] / "resources" / "sample"))


def test_an_unmatched_pattern_is_a_record() -> None:
    rule = Rule(("linears", "it's 'quoted' matches no layer"), Treatment(Integer(group_size=4)), ignore=("role:none",))
    found = [each.unmatched for each in make_plan(SAMPLE, Recipe((rule,))).plan_warnings if each.kind == "unmatched"]
    assert found == [
        UnmatchedPattern(0, "target", "it's 'quoted' matches no layer"),
        UnmatchedPattern(0, "ignore", "role:none"),
    ]


def test_only_a_group_size_that_was_replaced_regroups() -> None:
    groups = Treatment(Integer(group_size=7, indivisible="divisor"))
    made = make_plan(SAMPLE, Recipe((Rule(("linears",), groups),)))
    assert [each.regroups for each in made.plan_warnings if each.kind == "fitted"]
    assert all(each.regroups for each in made.plan_warnings if each.kind == "fitted")
