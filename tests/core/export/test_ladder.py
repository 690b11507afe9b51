"""What a budget is shared out over: the types of the target that the result is for, or of the recipe's own kind."""

from __future__ import annotations

from benchvise.core.allocate.ladder import bit_ladder
from benchvise.core.export.ladder import ladder_for, ladder_of_kind
from benchvise.core.export.targets.registry import auto_for, target_of
from benchvise.core.methods.gguf import Gguf
from benchvise.core.methods.half_quadratic import HalfQuadratic
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.solver import Nearest
from tests.core.preflight.preflight_samples import layer

WIDE = layer("x", "mlp.up", 256, 512)


def test_for_llama_cpp_they_are_gguf_types_of_every_size() -> None:
    for key in ("gguf", auto_for("llama.cpp"), auto_for("ollama")):
        bits = [8 * each.bytes_after(WIDE) / WIDE.parameters for each in ladder_for(key)]
        assert bits == sorted(bits)
        assert bits[0] < 2.1
        assert bits[-1] == 8.5
        assert {type(each.scheme) for each in ladder_for(key)} == {Gguf}


def test_for_others_they_are_integers() -> None:
    assert ladder_for("dense") == ladder_for("auto") == ladder_for(auto_for("vllm")) == bit_ladder()
    assert ladder_for("gguf", runs=False)[0].solver == Nearest(clip_search=True)


def test_a_recipe_of_gguf_types_is_offered_more_of_them() -> None:
    solver = Nearest()
    assert [each.scheme for each in ladder_of_kind([Gguf("q5_k")], solver)] == list(target_of("gguf").rungs)
    assert ladder_of_kind([Integer()], HalfQuadratic()) == bit_ladder(HalfQuadratic())
