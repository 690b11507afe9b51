"""Bytes of every scheme against arithmetic of its own and against codes that are really packed."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import ceil, prod

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchvise.core.checkpoint.records import DTYPE_BITS, Kind, Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.kernels.packing import pack_rows
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.methods.sparse import Sparse
from benchvise.core.recipe.recipe import Treatment


def layer(
    *shape: int, dtype: str = "bfloat16", kind: Kind = "linear", transposed: bool = False, name: str = "block.up"
) -> Layer:
    entry = TensorEntry(f"{name}.weight", dtype, shape, "model.safetensors", 0, prod(shape) * DTYPE_BITS[dtype] // 8)
    return Layer(name, entry, "mlp.up", kind, 0, transposed)


@st.composite
def integer_on_layer(draw: st.DrawFn) -> tuple[Integer, Layer]:
    group = draw(st.sampled_from([2, 3, 8, 16, 32, 43, 64, 128]))
    rows, columns = draw(st.integers(1, 40)), group * draw(st.integers(1, 6))
    scheme = Integer(
        bits=draw(st.integers(2, 8)),
        symmetric=draw(st.booleans()),
        granularity=draw(st.sampled_from(["tensor", "channel", "group"])),
        group_size=group,
    )
    turned = draw(st.booleans())
    shape = (columns, rows) if turned else (rows, columns)
    return scheme, layer(*shape, dtype=draw(st.sampled_from(["float32", "float16", "bfloat16"])), transposed=turned)


@given(integer_on_layer())
@settings(max_examples=150, deadline=None)
def test_integer_bytes_are_those_of_really_packed_tensors(case: tuple[Integer, Layer]) -> None:
    scheme, of = case
    rows, columns = of.matrix_shape
    scales = {"tensor": (1, 1), "channel": (rows, 1), "group": (rows, columns // scheme.group_size)}[scheme.granularity]
    dtype = getattr(torch, of.dtype)
    stored = [pack_rows(torch.zeros(rows, columns, dtype=torch.uint8), scheme.bits), torch.zeros(scales, dtype=dtype)]
    if not scheme.symmetric:
        zero_points = torch.zeros(scales, dtype=torch.uint8)
        stored.append(pack_rows(zero_points.t().contiguous(), scheme.bits).t())
    assert scheme.bytes_after(of) == sum(tensor.numel() * tensor.element_size() for tensor in stored)
    assert [one.shape for one in scheme.storage(of)] == [tuple(tensor.shape) for tensor in stored]


@pytest.mark.parametrize(
    ("scheme", "shape", "expected"),
    [
        # 4096 × 4096 at 4 bits: half a byte each, and one 2-byte scale per 128.
        (Integer(4, group_size=128), (4096, 4096), 4096 * 4096 // 2 + 4096 * 32 * 2),
        (Integer(8, granularity="channel"), (4096, 4096), 4096 * 4096 + 4096 * 2),
        (Integer(8, granularity="tensor"), (4096, 4096), 4096 * 4096 + 2),
        # 3 bits: 172 codes are 516 bits, 17 words of 4 bytes a row.
        (Integer(3, granularity="channel"), (64, 172), 64 * 17 * 4 + 64 * 2),
        # Zero points: 64 of 4 bits are 8 words per group.
        (Integer(4, False, group_size=43), (64, 172), 64 * 22 * 4 + 64 * 4 * 2 + 8 * 4 * 4),
        (Keep(), (3, 5), 30),
        (Sparse(), (3, 5), 30),
        (Sparse(criterion="threshold", threshold=1.0), (7, 9), 126),
    ],
)
def test_bytes_by_hand(scheme: Scheme, shape: tuple[int, int], expected: int) -> None:
    assert scheme.bytes_after(layer(*shape)) == expected


def test_bits_per_weight_of_the_known_formats() -> None:
    big = layer(4096, 4096)
    width = {s: Fraction(8 * s.bytes_after(big), big.parameters) for s in (Integer(4), Integer(3, group_size=64))}
    assert width[Integer(4)] == Fraction(4) + Fraction(16, 128)
    assert width[Integer(3, group_size=64)] == 3 + Fraction(16, 64)


def test_scales_of_double_precision_layers_are_single() -> None:
    scale = Integer(8, granularity="channel").storage(layer(4, 8, dtype="float64"))[1]
    assert (scale.dtype, scale.nbytes) == ("float32", 16)


def test_convolutions_are_packed_as_matrices() -> None:
    kernel = layer(8, 3, 5, 5, kind="conv")
    packed, scale = Integer(5, granularity="channel").storage(kernel)
    assert packed.shape == (8, ceil(75 * 5 / 32))
    assert scale.shape == (8, 1)


def test_a_group_that_does_not_divide_is_refused_with_what_would() -> None:
    with pytest.raises(RecipeError) as caught:
        Integer(4, group_size=128).fitted(layer(64, 172, name="mlp.down"))
    error = caught.value
    assert "group size 128" in error.what
    assert "172 inputs" in error.what
    assert "mlp.down" in error.what
    assert "[64, 172]" in error.what
    assert error.where == "mlp.down"
    assert "indivisible: divisor" in error.remedy


@pytest.mark.parametrize(
    ("columns", "group", "remedy"),
    [
        (344, 128, "group_size 8 or 43 or 86 or 172, "),  # 172 is 1.34 times 128, 86 is 1.49 times less
        (172, 128, "group_size 43 or 86, "),
        (173, 128, ""),
        (2**10 + 7, 16, ""),  # a prime far above the group: 1 is nearer, but no group
    ],
)
def test_the_remedy_names_a_group_that_would_do(columns: int, group: int, remedy: str) -> None:
    with pytest.raises(RecipeError) as caught:
        Integer(4, group_size=group).fitted(layer(4, columns))
    assert caught.value.remedy.startswith(f"Use {remedy}granularity channel")


@given(st.integers(1, 3000), st.integers(2, 400))
def test_the_fallback_is_the_longest_shorter_group_that_kernels_take(columns: int, group: int) -> None:
    fitted, notes = Integer(4, group_size=group, indivisible="divisor").fitted(layer(4, columns))
    taken = fitted.group_columns(columns)
    assert columns % taken == 0
    if columns % group == 0:
        assert (fitted.group_size, notes) == (group, ())
        return
    assert len(notes) == 1
    assert taken > 1 or columns == 1
    assert (fitted.granularity == "channel") == (taken == columns)
    if group >= 32:
        served = [size for size in (32, 64, 128, 256) if size <= group and columns % size == 0]
        assert taken == max(served, default=columns)
    else:  # whoever asks for less than any kernel takes gets what is nearest
        ratios = [Fraction(max(d, group), min(d, group)) for d in range(2, columns + 1) if columns % d == 0]
        assert Fraction(max(taken, group), min(taken, group)) == min(ratios, default=Fraction(group, 1))


@pytest.mark.parametrize(
    ("columns", "group", "tag"),
    [(576, 128, "int4 g64"), (960, 128, "int4 g64"), (1948, 128, "int4 channel"), (640, 256, "int4 g128")],
)
def test_widths_of_real_models(columns: int, group: int, tag: str) -> None:
    assert Integer(4, group_size=group, indivisible="divisor").fitted(layer(4, columns))[0].tag == tag


@pytest.mark.parametrize(
    ("scheme", "tag"),
    [
        (Integer(), "int4 g128"),
        (Integer(8, granularity="channel"), "int8 channel"),
        (Integer(2, False, granularity="tensor"), "int2 tensor asym"),
        (Sparse(), "50 % zeros"),
        (Sparse(fraction=0.125, scope="global"), "12.5 % zeros global"),
        (Sparse(fraction=0.29), "29 % zeros"),
        (Sparse(fraction=1 / 3), "33.33333333333333 % zeros"),
        (Sparse(fraction=1e-7), "0.00001 % zeros"),
        (Sparse(fraction=1.0), "100 % zeros"),
        (Sparse(criterion="threshold", threshold=0.001, scope="global"), "|w|≤0.001 → 0"),
        (Sparse(criterion="threshold", threshold=0.00100000001), "|w|≤0.00100000001 → 0"),
        (Keep(), "keep"),
    ],
)
def test_tags(scheme: Scheme, tag: str) -> None:
    assert scheme.tag == tag


@pytest.mark.parametrize(
    ("solver", "tag"),
    [
        (Nearest(), "int4 g128"),
        (Nearest(clip_search=True), "int4 g128 clip"),
        (Nearest(clip_search=True, clip_steps=40), "int4 g128 clip 40 steps"),
        (Nearest(clip_search=True, clip_least=0.5), "int4 g128 clip to 0.5"),
        (Nearest(clip_search=True, clip_steps=40, clip_least=0.55), "int4 g128 clip 40 steps to 0.55"),
    ],
)
def test_treatments_that_differ_have_different_tags(solver: Nearest, tag: str) -> None:
    assert Treatment(Integer(), solver).tag == tag
    assert Treatment(Sparse(), solver).tag == "50 % zeros", "nothing to clip"


def test_only_a_global_fraction_is_shared_between_layers() -> None:
    assert Sparse(scope="global").shared
    assert not Sparse().shared
    assert not replace(Sparse(scope="global"), criterion="threshold").shared
    assert not Integer().shared
