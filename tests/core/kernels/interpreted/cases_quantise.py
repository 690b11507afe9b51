"""The GPU's quantiser in Triton's interpreter: run by `test_triton.py`, in a process of its own."""

from __future__ import annotations

import pytest
import torch
import triton

from benchvise.core.kernels import triton_quantise as kernels
from benchvise.core.kernels.quantise import quantise_pack
from benchvise.core.kernels.routes import Route, RouteKind
from tests.core.kernels import reference
from tests.core.kernels.samples import DTYPES, everyday, extremes, ties

EAGER = Route(RouteKind.EAGER_CHUNKED, "asked for by a test")
TRITON = Route(RouteKind.TRITON, "asked for by a test")
# [rows, cols], group size: the default groups, whole rows, groups that share words, and rows that end within a word.
SHAPES = (
    ((3, 96), 32),
    ((2, 128), 64),
    ((3, 256), 128),
    ((2, 512), 256),
    ((2, 192), 96),
    ((2, 160), 160),
    ((3, 40), 8),
    ((3, 37), 37),
    ((2, 30), 10),
)


def assert_same(weight: torch.Tensor, bits: int, group_size: int, symmetric: bool, scale_dtype: torch.dtype) -> None:
    expected, got = (
        quantise_pack(
            weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=scale_dtype, route=route
        )
        for route in (EAGER, TRITON)
    )
    assert torch.equal(got.scale, expected.scale)
    assert torch.equal(got.packed, expected.packed)
    assert (got.zero_point is None) == symmetric
    if got.zero_point is not None and expected.zero_point is not None:
        assert torch.equal(got.zero_point, expected.zero_point)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_bits_are_those_of_the_eager_route(bits: int, symmetric: bool, dtype: torch.dtype) -> None:
    # All shapes at 4 bits; elsewhere those that differ in how words are made.
    shapes = SHAPES if bits == 4 else (SHAPES[0], SHAPES[4], SHAPES[7])
    for (rows, cols), group_size in shapes:
        assert_same(everyday(rows, cols, dtype), bits, group_size, symmetric, dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
def test_extremes_and_ties(symmetric: bool, dtype: torch.dtype) -> None:
    assert_same(extremes(64, dtype), 4, 32, symmetric, dtype)
    assert_same(ties(64, 4, dtype), 4, 64, symmetric, dtype)


def test_scales_of_another_dtype() -> None:
    assert_same(everyday(2, 64, torch.bfloat16), 4, 32, True, torch.float32)
    assert_same(everyday(2, 64, torch.float32), 4, 32, False, torch.float16)


@pytest.mark.parametrize("symmetric", [True, False])
def test_against_the_reference_itself(symmetric: bool) -> None:
    weight = everyday(3, 64, torch.bfloat16)
    expected = reference.quantise(weight, bits=4, group_size=32, symmetric=symmetric, scale_dtype=torch.bfloat16)
    packed, scale, _ = kernels.quantise_pack_triton(weight, 4, 32, symmetric, torch.bfloat16, None)
    assert torch.equal(scale, expected.scale)
    assert torch.equal(packed, reference.pack(expected.codes, 4))


@pytest.mark.parametrize("group_size", [32, 37])
def test_a_given_grid_is_used(group_size: int) -> None:
    weight = everyday(3, 2 * group_size, torch.float16)
    scale = torch.rand(3, 2).to(torch.float16) + 0.1
    zero_point = torch.randint(0, 16, (3, 2), dtype=torch.uint8)
    results = [
        quantise_pack(
            weight,
            bits=4,
            group_size=group_size,
            symmetric=False,
            scale_dtype=torch.float16,
            scale=scale,
            zero_point=zero_point,
            route=route,
        )
        for route in (EAGER, TRITON)
    ]
    assert torch.equal(results[0].packed, results[1].packed)


def test_groups_too_long_for_registers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernels, "LONGEST_FUSED_GROUP", 32)
    assert_same(everyday(3, 64, torch.bfloat16), 4, 64, False, torch.bfloat16)


def test_this_process_interprets() -> None:
    assert triton.knobs.runtime.interpret
