"""The eager route against the reference, bit for bit, and the properties a grid must have."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchvise.core.kernels import eager
from benchvise.core.kernels.packing import unpack_rows
from benchvise.core.kernels.quantise import decode, encode, grid_of, is_finite, quantise_pack
from benchvise.core.kernels.routes import Route, RouteKind, choose_route
from tests.core.kernels import reference
from tests.core.kernels.samples import DTYPES, everyday, extremes, ties

EAGER = Route(RouteKind.EAGER_CHUNKED, "asked for by a test")


def assert_as_reference(
    weight: torch.Tensor, bits: int, group_size: int, symmetric: bool, scale_dtype: torch.dtype
) -> None:
    expected = reference.quantise(
        weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=scale_dtype
    )
    got = quantise_pack(
        weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=scale_dtype, route=EAGER
    )
    assert torch.equal(got.scale, expected.scale)
    assert (got.zero_point is None) == symmetric
    if expected.zero_point is not None:
        assert got.zero_point is not None
        assert torch.equal(got.zero_point, expected.zero_point)
    assert torch.equal(got.packed, reference.pack(expected.codes, bits))
    scale, zero_point = grid_of(weight, bits=bits, group_size=group_size, symmetric=symmetric, scale_dtype=scale_dtype)
    assert torch.equal(scale, expected.scale)
    assert torch.equal(encode(weight, scale, zero_point, bits), expected.codes)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(1, 9))
def test_codes_are_those_of_the_reference(bits: int, symmetric: bool, dtype: torch.dtype) -> None:
    for weight, group_size in (
        (everyday(5, 96, dtype), 32),
        (everyday(3, 37, dtype), 37),
        (ties(64, bits, dtype), 64),
        (extremes(24, dtype), 12),
    ):
        assert_as_reference(weight, bits, group_size, symmetric, dtype)


@pytest.mark.parametrize("scale_dtype", DTYPES, ids=str)
@pytest.mark.parametrize("symmetric", [True, False])
def test_scales_of_another_dtype(scale_dtype: torch.dtype, symmetric: bool) -> None:
    for weight in (everyday(4, 40, torch.float32), extremes(24, torch.float32)):
        assert_as_reference(weight, 4, 8, symmetric, scale_dtype)


def test_double_precision_is_converted_first() -> None:
    weight = torch.randn(3, 32, dtype=torch.float64)
    assert_as_reference(weight, 4, 16, True, torch.float32)


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(1, 8),
    symmetric=st.booleans(),
    groups=st.integers(1, 4),
    values=st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=1, max_size=12),
    dtype=st.sampled_from(DTYPES),
)
def test_any_finite_weights(bits: int, symmetric: bool, groups: int, values: list[float], dtype: torch.dtype) -> None:
    limit = torch.finfo(dtype).max
    weight = torch.tensor([values * groups]).clamp(-limit, limit).to(dtype)
    assert_as_reference(weight, bits, len(values), symmetric, dtype)


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", range(2, 9))
def test_representable_values_survive(bits: int, symmetric: bool) -> None:
    codes = torch.arange(2**bits, dtype=torch.uint8).repeat(3, 1)
    scale = torch.tensor([[0.25], [1.0], [3.0]])
    zero_point = None if symmetric else torch.tensor([[1], [2], [3]], dtype=torch.uint8)
    values = decode(codes, scale, zero_point, bits)
    packed = quantise_pack(
        values,
        bits=bits,
        group_size=2**bits,
        symmetric=symmetric,
        scale_dtype=torch.float32,
        scale=scale,
        zero_point=zero_point,
    )
    assert torch.equal(unpack_rows(packed.packed, bits, 2**bits), codes)
    again = quantise_pack(values, bits=bits, group_size=2**bits, symmetric=False, scale_dtype=torch.float32)
    assert torch.equal(decode(unpack_rows(again.packed, bits, 2**bits), again.scale, again.zero_point, bits), values)


@pytest.mark.parametrize("bits", range(1, 9))
def test_decoding_is_that_of_the_reference(bits: int) -> None:
    codes = torch.randint(0, 2**bits, (6, 40), dtype=torch.uint8)
    scale = torch.rand(6, 5, dtype=torch.float32)
    zero_point = torch.randint(0, 2**bits, (6, 5), dtype=torch.uint8)
    for zero in (zero_point, None):
        expected = reference.dequantise(codes, scale, zero, bits)
        assert torch.equal(decode(codes, scale, zero, bits), expected.float())


def test_one_scale_for_all_may_be_an_expanded_view() -> None:
    weight = everyday(4, 16, torch.bfloat16)
    scale = torch.tensor(0.125, dtype=torch.bfloat16).expand(4, 1)
    packed = quantise_pack(weight, bits=4, group_size=16, symmetric=True, scale_dtype=torch.bfloat16, scale=scale)
    expected = (weight.float() / 0.125).round().clamp(-8, 7) + 8
    assert torch.equal(unpack_rows(packed.packed, 4, 16), expected.to(torch.uint8))


def test_blocks_join_without_a_seam(monkeypatch: pytest.MonkeyPatch) -> None:
    weight = everyday(33, 48, torch.bfloat16).T.contiguous().T  # not contiguous in rows
    whole = quantise_pack(weight, bits=3, group_size=16, symmetric=False, scale_dtype=torch.bfloat16)
    monkeypatch.setattr(eager, "CPU_BLOCK_WEIGHTS", 100)
    blocks = quantise_pack(weight, bits=3, group_size=16, symmetric=False, scale_dtype=torch.bfloat16)
    assert torch.equal(whole.packed, blocks.packed)
    assert torch.equal(whole.scale, blocks.scale)


def test_the_number_of_threads_changes_nothing() -> None:
    weight = everyday(300, 1024, torch.bfloat16)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            results.append(quantise_pack(weight, bits=4, group_size=128, symmetric=False, scale_dtype=torch.bfloat16))
    finally:
        torch.set_num_threads(before)
    assert torch.equal(results[0].packed, results[1].packed)
    assert torch.equal(results[0].scale, results[1].scale)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), -float("inf")])
def test_what_is_not_finite_is_seen_and_not_hidden(dtype: torch.dtype, bad: float) -> None:
    weight = everyday(4, 64, dtype)
    assert is_finite(weight)
    weight[2, 5] = bad
    assert not is_finite(weight)
    steps = eager.EagerSteps(torch.device("cpu"))
    assert not steps.magnitudes(weight).isfinite()[2]
    low, high = steps.extremes(weight)
    assert not (low[2].isfinite() and high[2].isfinite())


def test_nothing_is_finite() -> None:
    assert is_finite(torch.empty(0, 4))
    packed = quantise_pack(torch.empty(0, 4), bits=4, group_size=4, symmetric=True, scale_dtype=torch.float32)
    assert packed.packed.shape == (0, 1)


def test_impossible_requests_are_refused() -> None:
    weight = torch.zeros(2, 10)
    with pytest.raises(ValueError, match="do not divide"):
        quantise_pack(weight, bits=4, group_size=4, symmetric=True, scale_dtype=torch.float32)
    with pytest.raises(ValueError, match="1 to 8"):
        quantise_pack(weight, bits=9, group_size=5, symmetric=True, scale_dtype=torch.float32)
    with pytest.raises(ValueError, match="rows, groups"):
        quantise_pack(weight, bits=4, group_size=5, symmetric=True, scale_dtype=torch.float32, scale=torch.ones(2, 1))
    with pytest.raises(ValueError, match="zero point"):
        quantise_pack(weight, bits=4, group_size=5, symmetric=False, scale_dtype=torch.float32, scale=torch.ones(2, 2))
    with pytest.raises(ValueError, match="floating"):
        quantise_pack(weight.int(), bits=4, group_size=5, symmetric=True, scale_dtype=torch.float32)


def test_a_weight_on_the_cpu_is_quantised_in_blocks_and_the_route_says_why() -> None:
    route = choose_route(torch.zeros(1, 1))
    assert route.kind is RouteKind.EAGER_CHUNKED
    assert "cache" in route.why
