"""From added KL increases to the KL of all of them together."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import spearmanr

from benchvise.core.allocate.prediction import UNCORRECTED, Prediction, fit, rank_correlation
from benchvise.core.protocol.results import JointMeasurement


def test_a_law_is_found_again() -> None:
    law = [JointMeasurement(added, 1.3 * added**1.1) for added in np.geomspace(1e-5, 1e-1, 9)]
    found = fit(law)
    for point in law:
        assert found.of(point.added).value == pytest.approx(point.measured, rel=0.02)
        assert found.added_for(found.of(point.added).value) == pytest.approx(point.added)
    assert found.slope == pytest.approx(1.1, abs=0.01)


def test_the_range_holds_what_scatters() -> None:
    rng = np.random.default_rng(0)
    points = [JointMeasurement(a, a * math.exp(rng.normal(0, 0.1))) for a in np.geomspace(1e-4, 1e-1, 40)]
    found = fit(points)
    inside = sum(found.of(p.added).low <= p.measured <= found.of(p.added).high for p in points)
    assert inside >= 36
    assert found.spread < 0.4


def test_without_a_correction_sums_stand_with_a_wide_range() -> None:
    found = fit([JointMeasurement(0.1, 0.2), JointMeasurement(0.01, 0.03)])
    assert found == Prediction()
    estimate = found.of(0.1)
    assert estimate.value == pytest.approx(0.1)
    assert (estimate.low, estimate.high) == (pytest.approx(0.1 / UNCORRECTED), pytest.approx(0.1 * UNCORRECTED))


def test_no_kl_increase_is_no_divergence() -> None:
    estimate = Prediction(0.3, 1.2, 0.5).of(0.0)
    assert (estimate.value, estimate.low, estimate.high) == (0.0, 0.0, 0.0)
    assert Prediction().added_for(0.0) == 0.0


def test_points_that_lie_together_do_not_bend_the_line() -> None:
    rng = np.random.default_rng(1)
    points = [JointMeasurement(0.01 * (1 + 0.01 * k), 0.012 * math.exp(rng.normal(0, 0.2))) for k in range(5)]
    assert 0.8 < fit(points).slope < 1.2


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=3, max_size=30))
def test_rank_correlation_is_spearmans(pairs: list[tuple[int, int]]) -> None:
    one, other = zip(*pairs, strict=True)
    if len(set(one)) > 1 and len(set(other)) > 1:
        assert rank_correlation([(float(a), float(b)) for a, b in pairs]) == pytest.approx(
            spearmanr(one, other).statistic, abs=1e-12
        )
    else:
        assert rank_correlation([(float(a), float(b)) for a, b in pairs]) == 0.0
