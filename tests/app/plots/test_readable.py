"""Figures as people read them."""

from __future__ import annotations

import math

import pytest

from benchvise.app.plots.axes import CountAxis, NameAxis, NumberAxis
from benchvise.app.text.plot_numbers import number_text, percent_text, si_text, whole_text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "—"),
        (0.0, "0"),
        (0.03125, "0.03125"),
        (-1.5e-7, "−1.5·10⁻⁷"),
        (123456.0, "1.235·10⁵"),
        (math.nan, "NaN"),
        (math.inf, "∞"),
        (-math.inf, "−∞"),
    ],
)
def test_numbers(value, text):
    assert number_text(value) == text


def test_counts_and_shares():
    assert whole_text(1_048_576) == "1\u202f048\u202f576"
    assert whole_text(None) == "—"
    assert [si_text(value) for value in (0, 999, 1500, 999_900, 8.03e9, -2e3)] == [
        "0", "999", "1.5 k", "1 M", "8.03 G", "−2 k",
    ]  # fmt: skip
    assert percent_text(0.9837) == "98.4 %"


@pytest.mark.usefixtures("qapp")
def test_logarithmic_ticks_are_powers_of_ten_or_ones_twos_and_fives():
    axis = CountAxis("left", logarithmic=True)
    ((_, values),) = axis.tickValues(-0.3, 6.2, 400)
    assert axis.tickStrings(values, 1.0, 1.0) == ["1", "10", "100", "1 k", "10 k", "100 k", "1 M"]
    ((_, values),) = axis.tickValues(6.2, -0.3, 60)
    assert len(values) <= 3
    ((_, values),) = NumberAxis("left", logarithmic=True).tickValues(0.2, 1.1, 400)
    assert [round(10**value) for value in values] == [2, 5, 10]


@pytest.mark.usefixtures("qapp")
def test_names_are_thinned_out_where_they_do_not_fit():
    axis = NameAxis("bottom")
    assert axis.tickValues(0, 10, 100) == []
    axis.show_names([f"n{place}" for place in range(100)], apart=50)
    ((_, values),) = axis.tickValues(0, 100, 500)
    assert len(values) == 10
    assert axis.tickStrings(values, 1, 1)[1] == "n10"
    ((_, values),) = axis.tickValues(5, 0, 500)
    assert len(values) == 6
