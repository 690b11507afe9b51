"""Elements and tables of levels against definitions written out."""

from __future__ import annotations

import bisect
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from benchvise.core.schemes.element import Float4, Float8
from benchvise.core.schemes.level_table import LevelTable, midpoints
from tests.core.schemes.scaled_samples import E2M1, E4M3, E5M2

FLOATS = {
    "e2m1": (Float4(), E2M1),
    "e4m3": (Float8(torch.float8_e4m3fn), E4M3),
    "e5m2": (Float8(torch.float8_e5m2), E5M2),
}
MANTISSA_BITS = {"e2m1": 1, "e4m3": 3, "e5m2": 2}


def nearest_even(value: float, levels: list[float], mantissa_bits: int) -> float:
    """The nearest level, of two equally near the one whose last mantissa bit is 0."""
    value = max(levels[0], min(levels[-1], value))
    place = bisect.bisect_left(levels, value)
    if levels[place] == value:
        return value
    low, high = levels[place - 1], levels[place]
    if value - low != high - value:
        return low if value - low < high - value else high
    least = min(level for level in levels if level > 0)
    unit = max(2.0 ** (math.floor(math.log2(max(abs(low), least))) - mantissa_bits), least)
    return low if (low / unit) % 2 == 0 else high


@pytest.mark.parametrize("name", FLOATS)
def test_floats_are_those_of_the_definition(name: str) -> None:
    element, levels = FLOATS[name]
    assert element.levels.tolist() == levels
    assert element.largest == {"e2m1": 6.0, "e4m3": 448.0, "e5m2": 57344.0}[name]


@pytest.mark.parametrize("name", FLOATS)
def test_rounding_is_to_nearest_ties_to_even_and_saturates(name: str) -> None:
    element, levels = FLOATS[name]
    middles = torch.tensor(midpoints(levels))
    values = torch.cat(
        [
            torch.randn(500, generator=torch.Generator().manual_seed(0)) * 3,
            torch.tensor(levels),
            middles,
            torch.nextafter(middles, torch.tensor(math.inf)),
            torch.nextafter(middles, torch.tensor(-math.inf)),
            torch.tensor([0.0, -0.0, 1e9, -1e9, math.inf, -math.inf, 1e-45]),
        ]
    )
    found = element.decode(element.encode(values)).tolist()
    assert found == [nearest_even(value, levels, MANTISSA_BITS[name]) for value in values.tolist()]


@pytest.mark.parametrize("name", ["e4m3", "e5m2"])
def test_eight_bits_round_as_torch_casts(name: str) -> None:
    element, _ = FLOATS[name]
    values = torch.randn(4, 300, generator=torch.Generator().manual_seed(1)) * 20
    stored = element.stored(element.encode(values))["weight"]
    dtype = {"e4m3": torch.float8_e4m3fn, "e5m2": torch.float8_e5m2}[name]
    assert stored.dtype == dtype
    assert torch.equal(stored.float(), values.to(dtype).float())
    assert torch.equal(element.codes({"weight": stored}, 300), element.encode(values))


def test_four_bits_are_stored_sign_exponent_mantissa_low_nibble_first() -> None:
    element = Float4()
    values = torch.tensor([[0.5, -6.0, 0.0, 1.5, -0.5, 4.0, 2.0, -3.0, 1.0]])
    packed = element.stored(element.encode(values))["weight_packed"]
    # 0001 1111 | 0000 0011 | 1001 0110 | 0100 1101 | 0010
    assert packed.view(torch.uint8)[0, :5].tolist() == [0xF1, 0x30, 0x69, 0xD4, 0x02]
    assert torch.equal(element.decode(element.codes({"weight_packed": packed}, 9)), values)


def test_minus_zero_of_other_writers_is_zero() -> None:
    codes = Float4().codes({"weight_packed": torch.tensor([[0x88]], dtype=torch.int32)}, 2)
    assert Float4().decode(codes).tolist() == [[0.0, 0.0]]


@given(
    st.sets(st.integers(-400, 400), min_size=1, max_size=40),
    st.integers(-120, 100),
    st.lists(st.floats(width=32), min_size=1, max_size=60),
)
@settings(max_examples=40, deadline=None)
def test_a_table_counts_the_thresholds_below_a_value(places: set[int], power: int, values: list[float]) -> None:
    thresholds = [place * 2.0**power for place in sorted(places)]
    table = LevelTable(list(range(len(thresholds) + 1)), thresholds)
    bounds = torch.tensor(thresholds)
    tried = torch.cat([torch.tensor(values), bounds, *(bounds.nextafter(torch.tensor(end)) for end in (-9e38, 9e38))])
    tried = tried[~tried.isnan()]
    codes = table.encode(tried)
    assert codes.tolist() == [sum(value > bound for bound in thresholds) for value in tried.tolist()]
    assert table.decode(codes).tolist() == codes.tolist()
    assert int(table.encode(torch.tensor([math.nan]))) <= len(thresholds)


def test_a_table_takes_any_strides() -> None:
    levels = [-1.0, -0.3, 0.2, 5.0]
    table = LevelTable(levels, midpoints(levels))
    values = torch.randn(7, 9, generator=torch.Generator().manual_seed(0))
    codes = table.encode(values)
    assert torch.equal(table.encode(values.T), codes.T)
    assert torch.equal(table.encode(values.T.contiguous().T[:, 3:4]), codes[:, 3:4])
    assert torch.equal(table.decode(codes.T), table.decode(codes).T)


def test_tables_refuse_thresholds_out_of_order() -> None:
    with pytest.raises(ValueError, match="ascending"):
        LevelTable([0.0, 1.0, 2.0], [1.5, 0.5])
    with pytest.raises(ValueError, match="3 levels"):
        LevelTable([0.0, 1.0, 2.0], [1.5])


def test_tables_refuse_thresholds_too_close_together() -> None:
    with pytest.raises(ValueError, match="too close"):
        LevelTable([0.0, 1.0, 2.0], [1.0, 1.0 + 2**-20])
