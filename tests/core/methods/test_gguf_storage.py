"""Bytes and fallbacks of GGUF's block types, against the package `gguf` and by hand."""

from __future__ import annotations

from math import prod

import pytest
from gguf import GGML_QUANT_SIZES, GGMLQuantizationType

from benchvise.core.checkpoint.records import DTYPE_BITS, Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.gguf import TYPES, Gguf, GgufName


def layer(*shape: int, dtype: str = "bfloat16") -> Layer:
    entry = TensorEntry("up.weight", dtype, shape, "model.safetensors", 0, prod(shape) * DTYPE_BITS[dtype] // 8)
    return Layer("up", entry, "mlp.up", "linear", 0)


@pytest.mark.parametrize("name", TYPES)
def test_blocks_are_as_large_as_ggml_has_them(name: GgufName) -> None:
    kind = TYPES[name]
    assert GGML_QUANT_SIZES[GGMLQuantizationType[kind.title]] == (kind.weights, kind.nbytes)
    assert Gguf(type=name).bytes_after(layer(48, 768)) == 48 * 768 // kind.weights * kind.nbytes


@pytest.mark.parametrize(
    ("name", "columns", "taken"),
    [
        ("q4_k", 288, "q5_0"),
        ("q5_k", 288, "q5_1"),
        ("q6_k", 288, "q8_0"),
        ("q2_k", 288, "iq4_nl"),
        ("q3_k", 288, "iq4_nl"),
        ("iq2_xs", 288, "iq4_nl"),
        ("tq1_0", 288, "q4_0"),
        ("q4_k", 172, "f16"),
        ("q8_0", 172, "f16"),
        ("q4_k", 512, "q4_k"),
        ("f16", 43, "f16"),
    ],
)
def test_rows_that_do_not_divide_take_another_type_and_say_so(name: GgufName, columns: int, taken: GgufName) -> None:
    fitted, notes = Gguf(type=name).fitted(layer(4, columns))
    assert fitted == Gguf(type=taken)
    assert bool(notes) == (name != taken)
    assert all(TYPES[taken].title in note and TYPES[name].title in note and str(columns) in note for note in notes)
    assert fitted.bytes_after(layer(4, columns)) == 4 * columns // TYPES[taken].weights * TYPES[taken].nbytes


def test_or_are_refused() -> None:
    with pytest.raises(RecipeError, match="Blocks of 256, as Q4_K has them, do not divide the 288 inputs of 'up'"):
        Gguf(indivisible="refuse").fitted(layer(4, 288))
