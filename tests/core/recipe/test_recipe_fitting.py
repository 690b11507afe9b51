"""Quantised inputs in a plan: where they cannot be, the plan says so."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.engine import planned
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.recipe.fitting import name_on
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.wording import sentences
from tests.core.recipe.network_samples import checkpoint, layer

DYNAMIC = Treatment(Integer(8, granularity="channel"), activations=Activations())
STATIC = replace(DYNAMIC, activations=Activations(mode="static", observer="mse"))
NAMED = {"architectures": ["LlamaForCausalLM"]}


def plan(made_of: Checkpoint, *rules: Rule) -> Plan:
    return make_plan(made_of, Recipe(rules))


def inputs(made: Plan) -> dict[str, str]:
    return {row.layer.name: row.treatment.activations.tag for row in made.rows() if row.treatment.activations}


def test_linear_layers_take_quantised_inputs() -> None:
    made = plan(checkpoint(layer("q", (8, 8), role="attention.q")), Rule(("*",), DYNAMIC))
    assert inputs(made) == {"q": "aint8"}
    assert sentences(made.plan_warnings) == ()
    assert not made.treatments[made.choice[0]].needs_calibration


def test_layers_without_a_linear_module_say_why_their_inputs_stay() -> None:
    made = plan(
        checkpoint(
            layer("embed", (10, 8), role="embedding", kind="embedding"),
            layer("stem", (8, 3, 4, 4), role="conv", kind="conv"),
            layer("layers.0.mlp.experts.3.up_proj", (8, 8), role="mlp.expert.up"),
            layer("layers.0.mlp.gate", (8, 8), role="mlp.router"),
            layer("q", (8, 8), role="attention.q"),
        ),
        Rule(("*",), DYNAMIC),
    )
    assert inputs(made) == {"q": "aint8"}
    assert len(made.treated_rows) == 5
    for name, why in (("embed", "looked up"), ("stem", "no linear"), ("experts.3", "one piece"), ("gate", "routers")):
        assert [
            text
            for text in sentences(made.plan_warnings)
            if name in text and why in text and "inputs are not quantised" in text
        ]


def test_fixed_scales_take_an_architecture() -> None:
    q = layer("q", (8, 8), role="attention.q")
    named = replace(checkpoint(q), config=NAMED)
    with_architecture, without = plan(named, Rule(("q",), STATIC)), plan(checkpoint(q), Rule(("q",), STATIC))
    assert inputs(with_architecture) == {"q": "aint8 static mse"}
    assert with_architecture.bytes_after == without.bytes_after + 4
    assert with_architecture.treated_rows[0].treatment.needs_calibration
    assert inputs(without) == {}
    assert "calibration text" in sentences(without.plan_warnings)[0]
    assert not without.treated_rows[0].treatment.needs_calibration


def test_kept_layers_compute_with_inputs_as_they_are() -> None:
    kept = Treatment(Keep(), activations=Activations())
    q, k = layer("q", (8, 8), role="attention.q"), layer("k", (8, 8), role="attention.k")
    made = plan(checkpoint(q, k), Rule(("*",), DYNAMIC), Rule(("k",), kept))
    assert made.row(1).treatment == KEEP
    assert "kept" in sentences(made.plan_warnings)[0]


@pytest.mark.parametrize(
    ("asked", "columns", "name"),
    [
        (Integer(bits=4, group_size=64), 128, "int4 g64"),
        (Integer(bits=4, group_size=128, symmetric=False, indivisible="divisor"), 192, "int4 g64 asym (g128 asked)"),
        (Integer(bits=4, group_size=128, indivisible="divisor"), 64, "int4 channel (g128 asked)"),
        (Integer(bits=4, group_size=128), 64, "int4 g128"),
    ],
)
def test_a_treatment_is_called_as_it_fits_and_as_it_was_asked(asked: Integer, columns: int, name: str) -> None:
    assert name_on(Treatment(asked), layer("a", (8, columns))) == name


def test_layers_with_one_treatment_have_two_names_where_two_were_asked() -> None:
    made_of = checkpoint(layer("a", (8, 192)), layer("b", (8, 192)))
    asked = {"a": Integer(group_size=64), "b": Integer(group_size=128, indivisible="divisor")}
    made = plan(made_of, *(Rule((name,), Treatment(scheme)) for name, scheme in asked.items()))
    found = planned(made)
    names = [found.tags[choice] for choice in found.choice]
    assert names == [row.name for row in made.rows()] == ["int4 g64", "int4 g64 (g128 asked)"]
    assert len({found.keys[choice] for choice in found.choice}) == 1
