"""What a plan warning is about stands in its fields; sentences are made of them, and files hold the fields."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.methods.integer import Integer
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.plan_warning import PlanWarning, parse_plan_warning
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment
from benchvise.core.wording import reason, sentence
from tests.core.recipe.network_samples import layer

SAMPLE = open_checkpoint(str(Path(__file__).parents[3] / "resources" / "sample"))


def test_an_unmatched_pattern_is_a_record() -> None:
    rule = Rule(("linears", "it's 'quoted' matches no layer"), Treatment(Integer(group_size=4)), ignore=("role:norms",))
    found = [each for each in make_plan(SAMPLE, Recipe((rule,))).plan_warnings if each.kind == "unmatched"]
    assert found == [
        PlanWarning("unmatched", rule=0, cause="target", asked="it's 'quoted' matches no layer"),
        PlanWarning("unmatched", rule=0, cause="ignore", asked="role:norms", got="role:norm"),
    ]
    assert sentence(found[1]) == "Rule 1: the ignore 'role:norms' matches no layer. Did you mean 'role:norm'?"


def test_only_a_group_size_that_was_replaced_is_about_groups() -> None:
    groups = Treatment(Integer(group_size=7, indivisible="divisor"))
    made = make_plan(SAMPLE, Recipe((Rule(("linears",), groups),)))
    assert {each.cause for each in made.plan_warnings if each.kind == "fitted"} == {"groups"}


def test_an_expert_is_known_by_its_role_alone() -> None:
    assert layer("a.b", (8, 8), role="mlp.expert.up").routed_expert
    assert not layer("mlp.experts.3.up_proj", (8, 8), role="mlp.up").routed_expert


@pytest.mark.parametrize(
    "warning",
    [
        PlanWarning("dense", ("a", "b"), cause="it is tied", treatments=("int4", "int8")),
        PlanWarning("lost", cause="tuning", asked="Polish"),
        PlanWarning("unmatched", rule=2, cause="target", asked="lin", got="linears"),
    ],
)
def test_a_file_holds_the_fields(warning: PlanWarning) -> None:
    assert parse_plan_warning(json.loads(json.dumps(asdict(warning)))) == warning
    assert reason(warning) in sentence(warning)


def test_a_sentence_that_an_earlier_version_kept_stays_a_sentence() -> None:
    assert sentence(parse_plan_warning("2 layers: kept: a, b")) == "2 layers: kept: a, b"


@pytest.mark.parametrize("damaged", [3, None, {"kind": "no such kind"}, {"kind": "idle", "unknown": 1}])
def test_what_is_no_warning_is_refused(damaged: object) -> None:
    with pytest.raises((TypeError, ValueError)):
        parse_plan_warning(damaged)


def test_a_preset_on_a_network_without_linears_turns_to_its_convolutions(tmp_path: Path) -> None:
    save_file({"a.weight": torch.ones(8, 4, 3, 3), "a.bias": torch.ones(8)}, tmp_path / "conv.safetensors")
    plan = make_plan(open_checkpoint(tmp_path / "conv.safetensors"), load_preset("int4-g128"))
    assert [row.layer.name for row in plan.treated_rows] == ["a"]
    assert PlanWarning("turned", rule=0) in plan.plan_warnings
    assert "convolutions are meant" in sentence(PlanWarning("turned", rule=0))
    save_file({"a.weight": torch.ones(8, 4, 3, 3), "b.weight": torch.ones(8, 128)}, tmp_path / "both.safetensors")
    plan = make_plan(open_checkpoint(tmp_path / "both.safetensors"), load_preset("int4-g128"))
    assert [row.layer.name for row in plan.treated_rows] == ["b"]


def test_a_rule_may_spare_a_role_that_the_network_has_none_of(tmp_path: Path) -> None:
    save_file({"layers.0.self_attn.q_proj.weight": torch.ones(8, 128)}, tmp_path / "x.safetensors")
    recipe = Recipe(
        (Rule(("linears",), Treatment(Integer()), ignore=("role:mlp.gate", "role:mlp.*", "role:mlp.gaet")),)
    )
    found = make_plan(open_checkpoint(tmp_path / "x.safetensors"), recipe).plan_warnings
    assert [warning.asked for warning in found if warning.kind == "unmatched"] == ["role:mlp.gaet"]
