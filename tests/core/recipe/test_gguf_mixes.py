"""The mixes of llama.cpp by name: types by role and depth on a network of 32 blocks, as its quantiser gives them."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import load_preset
from tests.core.preflight.preflight_samples import network

BLOCKS = 32
MORE = {i for i in range(BLOCKS) if i < 4 or i >= 28 or (i - 4) % 3 == 2}


def more(kind, base):
    return lambda block: kind if block in MORE else base


def first(blocks, kind, base):
    return lambda block: kind if block < blocks else base


def always(kind):
    return lambda _: kind


@pytest.mark.parametrize(
    ("mix", "base", "value", "down", "output"),
    [
        ("q4_k_m", "q4_k", more("q6_k", "q4_k"), more("q6_k", "q4_k"), "q4_k"),
        ("q4_k_s", "q4_k", first(4, "q5_k", "q4_k"), first(4, "q5_k", "q4_k"), "q4_k"),
        ("q5_k_m", "q5_k", more("q6_k", "q5_k"), more("q6_k", "q5_k"), "q5_k"),
        ("q3_k_m", "q3_k", first(2, "q5_k", "q4_k"), first(2, "q5_k", "q4_k"), "q4_k"),
        ("q2_k_m", "q2_k", always("q3_k"), always("q3_k"), "q3_k"),
        ("q5_k_s", "q5_k", always("q5_k"), always("q5_k"), "q5_k"),
    ],
)
def test_each_layer_has_the_type_that_llama_cpp_gives_it(mix, base, value, down, output):
    plan = make_plan(network(256, 512, blocks=BLOCKS), load_preset(f"gguf-{mix}"))
    for row in plan.treated_rows:
        depth, role = row.layer.depth, row.layer.role
        special = {"attention.v": value, "mlp.down": down, "attention.o": lambda _: output}
        expected = special[role](depth) if role in special else base
        expected = "q6_k" if role == "lm_head" else expected
        assert row.treatment.scheme.type == expected, (row.layer.name, mix)
    assert not plan.plan_warnings


def test_a_tied_embedding_has_the_type_of_the_output_head_that_it_is():
    tied = network(256, 512)
    embedding = replace(tied.layers[0], tied=("lm_head",))
    plan = make_plan(replace(tied, layers=(embedding, *tied.layers[1:-1])), load_preset("gguf-q4_k_m"))
    assert plan.treated_rows[0].treatment.scheme.type == "q6_k"
