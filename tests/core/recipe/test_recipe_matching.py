from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.errors import RecipeError
from benchvise.core.recipe.layer_matcher import WORDS, is_name, matcher, matching, naming
from tests.core.recipe.network_samples import layer, network

LAYERS = network()


def names(*patterns: str) -> list[str]:
    found, _ = matching(patterns, LAYERS)
    return [LAYERS[index].name for index in sorted(found)]


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("layers.1.attn.q", ["layers.1.attn.q"]),
        ("layers.1.attn.q.weight", ["layers.1.attn.q"]),
        ("layers.1.attn.?", ["layers.1.attn.q", "layers.1.attn.k", "layers.1.attn.o"]),
        ("layers.[02].attn.[qk]", ["layers.0.attn.q", "layers.0.attn.k", "layers.2.attn.q", "layers.2.attn.k"]),
        ("*.down", ["layers.0.mlp.down", "layers.1.mlp.down", "layers.2.mlp.down"]),
        ("*.mlp.*.weight", [f"layers.{b}.mlp.{p}" for b in range(3) for p in ("up", "down")]),
        (r"re:layers\.[01]\.attn\.q", ["layers.0.attn.q", "layers.1.attn.q"]),
        (r"re:.*\.down", ["layers.0.mlp.down", "layers.1.mlp.down", "layers.2.mlp.down"]),
        ("re:down", []),
        ("role:attention.q", ["layers.0.attn.q", "layers.1.attn.q", "layers.2.attn.q"]),
        ("role:mlp.*", [f"layers.{b}.mlp.{p}" for b in range(3) for p in ("up", "down")]),
        ("role:lm_head", ["head"]),
        ("depth:1", [one.name for one in LAYERS if one.depth == 1]),
        ("depth:1-7", [one.name for one in LAYERS if one.depth in (1, 2)]),
        ("linears", [one.name for one in LAYERS if one.kind == "linear" and one.name != "head"]),
        ("embeddings", ["embed"]),
        ("convolutions", ["stem"]),
        ("all", [one.name for one in LAYERS]),
        ("output-head", ["head"]),
        ("role:attention.q & depth:1-2", ["layers.1.attn.q", "layers.2.attn.q"]),
        ("linears & *.down & depth:0", ["layers.0.mlp.down"]),
        ("depth:2/3 & *.down", ["layers.0.mlp.down", "layers.1.mlp.down"]),
        ("depth:1/16", []),
        ("LAYERS.1.attn.q", []),
    ],
)
def test_a_pattern_names_its_layers_and_one_test_agrees(pattern: str, expected: list[str]) -> None:
    assert names(pattern) == expected
    assert [one.name for one in LAYERS if matcher(pattern, 3)(one)] == expected


def test_patterns_add_up_and_those_that_match_nothing_are_reported() -> None:
    found, unmatched = matching(["head", "*.up", "nothing", "role:nothing", "embed"], LAYERS)
    assert {LAYERS[index].name for index in found} == {"head", "embed", *(f"layers.{b}.mlp.up" for b in range(3))}
    assert unmatched == ("nothing", "role:nothing")


@pytest.mark.parametrize("blocks", [1, 2, 7, 8, 16, 22, 30, 32, 80])
def test_the_blocks_that_the_mixes_of_llama_cpp_give_more_bits(blocks: int) -> None:
    """As llama-quant.cpp decides: the first eighth, the last eighth, and every third between."""
    layers = [replace(LAYERS[0], name=f"{depth}", depth=depth) for depth in range(blocks)]
    eighth = blocks // 8
    expected = [i for i in range(blocks) if i < eighth or i >= 7 * blocks // 8 or (i - eighth) % 3 == 2]
    assert sorted(matching(["depth:more-bits"], layers)[0]) == expected


def test_a_share_that_is_no_block_of_a_small_network_is_no_mistake() -> None:
    assert matching(["depth:1/16", "*.down & depth:1/16"], LAYERS) == (set(), ())


@pytest.mark.parametrize("pattern", ["re:(", "re:[", "depth:", "depth:x", "depth:1-", "depth:-1", "depth:1-2-3"])
def test_a_broken_pattern_is_shown(pattern: str) -> None:
    with pytest.raises(RecipeError) as caught:
        matching([pattern], LAYERS)
    assert caught.value.where == pattern
    assert caught.value.remedy


def test_a_tensor_that_is_no_weight_is_found_by_its_own_name() -> None:
    assert names("steps") == ["steps"]


@given(st.text(min_size=1, max_size=30))
def test_naming_finds_one_layer_whatever_its_name(name: str) -> None:
    layers = (layer(name, (4, 4)), layer("another", (4, 4)), layer(name + "x", (4, 4)))
    found, unmatched = matching([naming(name)], layers)
    assert found == ({0} if name != "another" else {0, 1})
    assert unmatched == ()


def test_words_and_patterns_are_no_names() -> None:
    assert is_name("model.layers.0.mlp.up_proj")
    assert not any(is_name(pattern) for pattern in (*WORDS, "re:x", "role:x", "depth:1", "a.*", "a.?", "a.[0]"))
