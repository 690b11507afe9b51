"""Figures as people read them."""

from __future__ import annotations

import pytest

from benchvise.app.plots.axes import CountAxis, NameAxis, NumberAxis


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
