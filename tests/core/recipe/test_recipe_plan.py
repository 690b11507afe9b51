from __future__ import annotations

import subprocess
import sys
from itertools import pairwise
from math import prod

import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.presets import load_preset, preset_names, presets
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.wording import MAX_LISTED, sentences
from tests.core.recipe.network_samples import checkpoint, layer, network

INT4 = Treatment(Integer(4, granularity="channel"))
INT8 = Treatment(Integer(8, granularity="channel"))
HALF = Treatment(Sparse())


def plan(*rules: Rule) -> Plan:
    return make_plan(checkpoint(), Recipe(rules))


def tags(made: Plan) -> dict[str, str]:
    return {row.layer.name: row.treatment.tag for row in made.treated_rows}


def test_the_last_rule_that_matches_decides() -> None:
    made = plan(Rule(("linears",), INT4), Rule(("*.down",), INT8), Rule(("layers.2.*",), HALF))
    got = tags(made)
    assert got["layers.0.mlp.up"] == "int4 channel"
    assert got["layers.0.mlp.down"] == "int8 channel"
    assert got["layers.2.mlp.down"] == "50 % zeros"
    assert {row.layer.name: row.rule for row in made.rows()}["layers.1.mlp.down"] == 1


def test_a_later_keep_takes_a_layer_out_again() -> None:
    assert "layers.1.mlp.up" not in tags(plan(Rule(("linears",), INT4), Rule(("layers.1.mlp.up",), KEEP)))


def test_ignored_layers_stay_with_the_rule_before() -> None:
    got = tags(plan(Rule(("linears",), INT8), Rule(("linears",), INT4, ("role:attention.*", "layers.0.*"))))
    assert got["layers.1.attn.q"] == "int8 channel"
    assert got["layers.0.mlp.up"] == "int8 channel"
    assert got["layers.1.mlp.up"] == "int4 channel"


def test_rows_cover_every_layer_in_order() -> None:
    made = plan(Rule(("linears",), INT4))
    assert [row.layer for row in made.rows()] == list(network())


def test_bytes_add_up() -> None:
    made = plan(Rule(("linears",), INT8))
    before = sum(prod(one.shape) * (8 if one.dtype == "int64" else 2) for one in network())
    linears = [one for one in network() if one.kind == "linear" and one.role != "lm_head"]
    saved = sum(2 * prod(one.shape) - prod(one.shape) - 2 * one.shape[0] for one in linears)
    assert (made.bytes_before, made.bytes_after) == (before, before - saved)
    weights = sum(prod(one.shape) for one in network())
    assert made.bits_per_weight == 8 * (before - saved) / weights
    treated = sum(prod(one.shape) for one in linears)
    assert made.bits_per_treated_weight == 8 * (treated + 2 * sum(one.shape[0] for one in linears)) / treated


def test_targets_and_ignores_that_match_nothing_are_reported() -> None:
    made = plan(Rule(("linears", "layers.0.mlp.upp"), INT4, ("role:attenton.q", "zzz")), Rule(("linear",), INT8))
    assert sentences(made.plan_warnings) == (
        "Rule 1: the target 'layers.0.mlp.upp' matches no layer. Did you mean 'layers.0.mlp.up'?",
        "Rule 1: the ignore 'role:attenton.q' matches no layer. Did you mean 'role:attention.q'?",
        "Rule 1: the ignore 'zzz' matches no layer.",
        "Rule 2: the target 'linear' matches no layer. Did you mean 'linears'?",
    )


def test_a_recipe_that_treats_nothing_is_refused_with_the_reason() -> None:
    with pytest.raises(RecipeError, match="treats no layer") as caught:
        plan(Rule(("layers.0.mlp.upp",), INT4))
    assert "Did you mean 'layers.0.mlp.up'?" in caught.value.remedy
    with pytest.raises(RecipeError, match="treats no layer"):
        plan(Rule(("all",), KEEP))
    with pytest.raises(RecipeError, match="treats no layer"):
        make_plan(checkpoint(), Recipe())


def test_an_editor_may_start_with_nothing() -> None:
    made = make_plan(checkpoint(), Recipe(), allow_empty=True)
    assert (made.treated_rows, made.bytes_after, made.bits_per_treated_weight) == ((), made.bytes_before, 0.0)


def test_every_layer_whose_group_does_not_divide_is_named() -> None:
    with pytest.raises(RecipeError) as caught:
        plan(Rule(("*.mlp.*",), Treatment(Integer(4, group_size=40))))
    assert "group size 40" in caught.value.what
    assert "layers.0.mlp.up" in caught.value.what
    assert "likewise layers.0.mlp.down" in caught.value.what
    assert "and 2 more" in caught.value.what
    assert "granularity channel" in caught.value.remedy


def test_a_fallback_is_listed_for_every_layer() -> None:
    made = plan(Rule(("*.mlp.*",), Treatment(Integer(4, group_size=40, indivisible="divisor"))))
    assert tags(made)["layers.0.mlp.up"] == "int4 g32"
    assert tags(made)["layers.0.mlp.down"] == "int4 g32"
    of_layers = {part: ", ".join(f"layers.{block}.mlp.{part}" for block in range(3)) for part in ("up", "down")}
    assert sentences(made.plan_warnings) == (
        f"3 layers: group size 32 instead of 40, which does not divide 64 inputs: {of_layers['up']}",
        f"3 layers: group size 32 instead of 40, which does not divide 96 inputs: {of_layers['down']}",
    )


def test_long_lists_of_warnings_are_cut_and_say_so() -> None:
    made = make_plan(
        checkpoint(*network(depth=20)),
        Recipe((Rule(("*.mlp.*",), Treatment(Integer(4, group_size=40, indivisible="divisor"))),)),
    )
    assert len(sentences(made.plan_warnings)) == 2
    for warning in sentences(made.plan_warnings):
        assert warning.startswith("20 layers: ")
        assert warning.endswith(f" and {20 - MAX_LISTED} more")
        assert warning.count("layers.") == MAX_LISTED


def test_layers_that_cannot_be_compressed_are_kept_and_listed() -> None:
    made = plan(Rule(("all",), INT4))
    kept = "layers.0.norm, layers.1.norm, layers.2.norm, steps"
    assert f"4 layers: kept as they are, being no floating-point matrices: {kept}" in sentences(made.plan_warnings)
    assert "layers.0.norm" not in tags(made)
    assert {"embed", "head", "stem"} <= tags(made).keys()


def test_a_layer_that_would_grow_is_listed() -> None:
    made = make_plan(checkpoint(layer("narrow", (64, 2))), Recipe((Rule(("all",), INT8),)))
    assert made.bytes_after > made.bytes_before
    assert sentences(made.plan_warnings) == ("1 layer: int8 channel takes more bytes than the layer has now: narrow",)


def test_empty_tensors_are_kept() -> None:
    made = make_plan(checkpoint(layer("none", (0, 8)), layer("some", (8, 8))), Recipe((Rule(("all",), INT8),)))
    assert tags(made) == {"some": "int8 channel"}
    assert made.row(0).bits_per_weight == 0.0


def test_a_quantised_checkpoint_is_refused() -> None:
    with pytest.raises(CheckpointError, match="already quantised") as caught:
        make_plan(checkpoint(quantization={"quant_method": "gptq"}), Recipe((Rule(("linears",), INT4),)))
    assert "gptq" in caught.value.what
    assert "original" in caught.value.remedy


@pytest.mark.parametrize("name", preset_names())
def test_every_preset_plans_on_the_sample(name: str) -> None:
    recipe = load_preset(name)
    assert recipe.name == name
    assert recipe.description
    made = make_plan(open_checkpoint("resources/sample"), recipe)
    if recipe.surgery:
        assert made.bytes_after < made.bytes_before
        return
    whole = any("embeddings" in rule.targets for rule in recipe.rules)  # the mixes of llama.cpp
    assert len(made.treated_rows) == 35 + whole
    assert made.bytes_after <= made.bytes_before
    assert all("matches no layer" not in warning for warning in sentences(made.plan_warnings))
    others = ("norm", "lm_head") if whole else ("embedding", "norm", "lm_head")
    assert not any(row.layer.role in others for row in made.treated_rows)


def test_the_presets_that_are_promised_are_there() -> None:
    assert {"int8-channel", "int4-g128", "magnitude-50"} <= set(preset_names())
    with pytest.raises(RecipeError) as caught:
        load_preset("int4g128")
    assert caught.value.remedy == "Did you mean 'int4-g128'?"


def test_sample_bytes_by_hand() -> None:
    made = make_plan(open_checkpoint("resources/sample"), load_preset("int8-channel"))
    # Five blocks: q and o 64 × 64, k and v 32 × 64, gate and up 172 × 64, down 64 × 172; float32 scales per row.
    shapes = [(64, 64), (64, 64), (32, 64), (32, 64), (172, 64), (172, 64), (64, 172)]
    treated = 5 * sum(rows * columns for rows, columns in shapes)
    after = 5 * sum(rows * columns + 4 * rows for rows, columns in shapes)
    assert made.bytes_before == 260_032 * 4
    assert made.bytes_after == (260_032 - treated) * 4 + after
    assert made.bits_per_treated_weight == pytest.approx(8 * after / treated)


def test_planning_never_loads_torch() -> None:
    code = (
        "import sys\n"
        "from benchvise.core.checkpoint.open import open_checkpoint\n"
        "from benchvise.core.recipe.plan import make_plan\n"
        "from benchvise.core.recipe.presets import load_preset\n"
        "make_plan(open_checkpoint('resources/sample'), load_preset('int4-g128'))\n"
        "print([name for name in sys.modules if name.split('.')[0] in ('torch', 'transformers', 'triton')])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_presets_are_offered_by_size_and_say_what_they_need() -> None:
    offered = presets()
    assert sorted(preset.name for preset in offered) == list(preset_names())
    groups = list(dict.fromkeys(preset.group for preset in offered))
    assert len(groups) == len([1 for one, other in pairwise(offered) if one.group != other.group]) + 1
    by_name = {preset.name: preset for preset in offered}
    assert by_name["int4-g128"].group == "About 4 bits"
    assert by_name["int4-g128"].bits_per_weight == 4.125
    assert by_name["magnitude-50"].group == "Pruning"
    for group in groups:
        needs = [preset.recipe.needs_calibration for preset in offered if preset.group == group]
        assert needs == sorted(needs)
