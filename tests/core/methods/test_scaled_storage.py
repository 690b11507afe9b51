"""Bytes, tags and fallbacks of floating and non-linear schemes, by hand."""

from __future__ import annotations

from math import prod

import pytest

from benchvise.core.checkpoint.records import DTYPE_BITS, Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.methods.floating import Floating
from benchvise.core.methods.microscaling import Microscaling, NvFloat4
from benchvise.core.methods.nonlinear import NonLinear
from benchvise.core.methods.scheme import Scheme
from benchvise.core.settings import parse_settings, to_mapping, validate


def layer(*shape: int, dtype: str = "bfloat16") -> Layer:
    entry = TensorEntry("up.weight", dtype, shape, "model.safetensors", 0, prod(shape) * DTYPE_BITS[dtype] // 8)
    return Layer("up", entry, "mlp.up", "linear", 0)


@pytest.mark.parametrize(
    ("scheme", "shape", "expected"),
    [
        (Floating(granularity="tensor"), (64, 172), 64 * 172 + 4),
        (Floating(granularity="tensor", scales="weight"), (64, 172), 64 * 172 + 2),
        (Floating(), (64, 172), 64 * 172 + 64 * 4),
        (Floating(scales="weight"), (64, 172), 64 * 172 + 64 * 2),
        # 129 rows and 172 columns are 2 × 2 blocks.
        (Floating(granularity="block"), (129, 172), 129 * 172 + 4 * 4),
        (Microscaling(), (64, 192), 64 * 192 // 2 + 64 * 6),
        # 172 codes of 4 bits are 688 bits, 22 words of 4 bytes a row; 172 weights are 6 blocks.
        (Microscaling(indivisible="pad"), (64, 172), 64 * 22 * 4 + 64 * 6),
        (Microscaling(number="e4m3"), (64, 192), 64 * 192 + 64 * 6),
        (NvFloat4(), (64, 192), 64 * 192 // 2 + 64 * 12 + 4),
        (NonLinear(bits=3, group_size=43), (64, 172), 64 * 17 * 4 + 64 * 4 * 2),
        (NonLinear(bits=3, granularity="channel"), (64, 172), 64 * 17 * 4 + 64 * 2),
        (NonLinear(curve="logarithmic", bits=4, group_size=86), (64, 172), 64 * 22 * 4 + 64 * 2),
        (NonLinear(bits=8, granularity="tensor"), (3, 5), 3 * 2 * 4 + 2),
    ],
)
def test_bytes_by_hand(scheme: Scheme, shape: tuple[int, int], expected: int) -> None:
    assert scheme.bytes_after(layer(*shape)) == expected


def test_double_precision_layers_have_single_scales() -> None:
    for scheme in (Floating(scales="weight"), NonLinear()):
        assert scheme.storage(layer(4, 128, dtype="float64"))[1].dtype == "float32"


@pytest.mark.parametrize(
    ("scheme", "tag"),
    [
        (Floating(), "fp8 e4m3 channel"),
        (Floating(number="e5m2", granularity="tensor"), "fp8 e5m2 tensor"),
        (Floating(granularity="block"), "fp8 e4m3 128×128"),
        (Floating(granularity="block", block_rows=1, block_columns=64), "fp8 e4m3 1×64"),
        (Floating(scales="weight"), "fp8 e4m3 channel own scales"),
        (Microscaling(), "mxfp4"),
        (Microscaling(number="e4m3"), "mxfp8 e4m3"),
        (Microscaling(number="e5m2"), "mxfp8 e5m2"),
        (NvFloat4(), "nvfp4"),
        (NonLinear(), "tanh4 g64"),
        (NonLinear(curve="sigmoid", bits=3, granularity="tensor"), "sigmoid3 tensor"),
        (NonLinear(curve="logarithmic"), "log4 g64"),
        (NonLinear(curve="logarithmic", half_steps=True, rounding="curve"), "log4 half g64 curve"),
    ],
)
def test_tags(scheme: Scheme, tag: str) -> None:
    assert scheme.tag == tag
    validate(scheme, where="here")
    assert parse_settings(type(scheme), to_mapping(scheme), where="here") == scheme


@pytest.mark.parametrize(
    ("scheme", "block"), [(Microscaling(), 32), (Microscaling(number="e4m3"), 32), (NvFloat4(), 16)]
)
def test_blocks_that_do_not_divide_are_refused_or_padded(scheme: Scheme, block: int) -> None:
    assert scheme.fitted(layer(4, 3 * block)) == (scheme, ())
    with pytest.raises(RecipeError) as caught:
        scheme.fitted(layer(4, 172))
    assert f"Blocks of {block}" in caught.value.what
    assert "172 inputs" in caught.value.what
    assert caught.value.where == "up"
    assert "indivisible: pad" in caught.value.remedy
    padded = parse_settings(type(scheme), to_mapping(scheme) | {"indivisible": "pad"}, where="here")
    fitted, notes = padded.fitted(layer(4, 172))
    assert fitted == padded
    assert notes == (f"the last block of each row has 12 of {block} weights, as 172 inputs are",)


def test_non_linear_groups_that_do_not_divide() -> None:
    with pytest.raises(RecipeError, match="group size 64 does not divide the 172 inputs"):
        NonLinear().fitted(layer(4, 172))
    assert NonLinear(group_size=40, indivisible="divisor").fitted(layer(4, 172))[0].group_size == 43
    channel, notes = NonLinear(indivisible="divisor").fitted(layer(4, 173))
    assert channel.tag == "tanh4 channel"
    assert notes == ("one scale per channel, as the group size 64 does not divide 173 inputs",)
    assert NonLinear(granularity="channel").fitted(layer(4, 173))[1] == ()
