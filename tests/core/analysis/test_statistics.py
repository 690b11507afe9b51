from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchvise.core.analysis import source as source_module
from benchvise.core.analysis.histogram import histogram_of
from benchvise.core.analysis.source import ArraySource, Source
from benchvise.core.analysis.statistics import look
from benchvise.core.errors import Cancelled, CheckpointError
from benchvise.core.progress import Progress
from benchvise.core.protocol.results import Statistics
from tests.core.analysis.tensor_samples import DTYPES, FLOATS, SILENT, Recorder, sample

FRACTIONS = (0.001, 0.01, 0.5, 0.99, 0.999)


def median(found: Statistics) -> float:
    return dict(found.quantiles)[0.5]


def assert_describes(found: Statistics, values: np.ndarray) -> None:
    """Compare with plain numpy and torch over the whole array at once."""
    finite = values[np.isfinite(values)]
    exact = torch.from_numpy(finite)
    apart = exact - exact.mean()
    assert found.count == values.size
    assert found.nan == np.isnan(values).sum()
    assert found.infinite == np.isinf(values).sum()
    assert found.zeros == (finite == 0).sum()
    assert found.zero_fraction == found.zeros / values.size
    assert (found.minimum, found.maximum, found.abs_max) == (finite.min(), finite.max(), np.abs(finite).max())
    assert found.mean == pytest.approx(exact.mean().item(), rel=1e-12, abs=1e-12)
    assert found.std == pytest.approx(exact.std(correction=0).item(), rel=1e-12)
    expected_kurtosis = (apart**4).mean() / (apart**2).mean() ** 2 - 3
    assert found.kurtosis == pytest.approx(expected_kurtosis.item(), rel=1e-9, abs=1e-9)
    assert found.outliers == (np.abs(finite - finite.mean()) > 6 * finite.std()).sum()
    assert tuple(fraction for fraction, _ in found.quantiles) == FRACTIONS
    for fraction, value in found.quantiles:
        assert value == pytest.approx(np.quantile(finite, fraction), rel=1e-14), fraction


def statistics_of(source: Source, *, progress: Progress, threads: int | None = None) -> Statistics:
    return look(source, 5, progress=progress, threads=threads)[1]


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 53), (6007,), (4, 5, 6, 7)])
def test_all_dtypes(dtype: str, shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = sample(dtype, shape, spoiled=True)
    assert_describes(statistics_of(tensor.source, progress=SILENT), tensor.values)
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 512)
    assert_describes(statistics_of(tensor.source, progress=SILENT), tensor.values)


def test_outliers_are_found() -> None:
    values = np.random.default_rng(3).standard_normal((500, 400)).astype(np.float32)
    values[7, 9], values[400, 3] = 40.0, -30.0
    found = statistics_of(ArraySource(values), progress=SILENT)
    assert found.outliers == 2
    assert_describes(found, values.astype(np.float64))


def test_a_large_mean_does_not_cost_digits() -> None:
    values = (np.random.default_rng(4).standard_normal((40, 3000)) + 1e7).astype(np.float64)
    assert_describes(statistics_of(ArraySource(values), progress=SILENT), values)


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_constant_has_no_spread(dtype: str, size: int) -> None:
    constant = sample(dtype, (1,), seed=2)
    source = ArraySource(np.repeat(constant.source.array, size), dtype)
    found = statistics_of(source, progress=SILENT)
    value = float(constant.values[0])
    assert (found.minimum, found.maximum, found.mean) == (value,) * 3
    assert [quantile for _, quantile in found.quantiles] == [value] * 5
    assert (found.std, found.outliers) == (0.0, 0)
    assert math.isnan(found.kurtosis)


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_empty_tensor_has_counts_of_zero_and_no_numbers(dtype: str) -> None:
    histogram, found = look(sample(dtype, (3, 0)).source, 5, progress=SILENT)
    assert histogram.counts.tolist() == [0] * 5
    assert (found.count, found.zeros, found.zero_fraction, found.nan, found.infinite, found.outliers) == (0,) * 6
    floats = (found.minimum, found.maximum, found.mean, found.std, found.kurtosis, found.abs_max)
    assert all(math.isnan(number) for number in (*floats, *(value for _, value in found.quantiles)))


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
def test_only_nan_and_infinity(dtype: str) -> None:
    values = np.array([np.nan, np.inf, -np.inf, np.nan], np.float32)
    stored = (values.view(np.uint32) >> 16).astype(np.uint16) if dtype == "bfloat16" else values.astype(dtype)
    histogram, found = look(ArraySource(stored, dtype), 3, progress=SILENT)
    assert histogram.counts.tolist() == [0, 0, 0]
    assert (found.count, found.nan, found.infinite, found.outliers) == (4, 2, 2, 0)
    assert math.isnan(found.mean)
    assert all(math.isnan(value) for _, value in found.quantiles)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "int64"])
def test_a_scalar(dtype: str) -> None:
    tensor = sample(dtype, (), seed=5)
    found = statistics_of(tensor.source, progress=SILENT)
    assert (found.count, found.minimum, median(found), found.std) == (
        1,
        float(tensor.values),
        float(tensor.values),
        0.0,
    )


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint64])
@settings(deadline=None)
@given(data=st.data())
def test_quantiles_of_any_values_are_exact(dtype: type, data: st.DataObject) -> None:
    elements = hnp.from_dtype(np.dtype(dtype), allow_nan=False, allow_infinity=False)
    if np.dtype(dtype).kind == "f":
        elements = elements.filter(lambda value: abs(value) < 1e30)
    values = data.draw(hnp.arrays(dtype, hnp.array_shapes(max_dims=2, max_side=12), elements=elements))
    found = statistics_of(ArraySource(values), progress=SILENT, threads=1)
    ordered = np.sort(values.astype(np.float64), axis=None)
    assert (found.minimum, found.maximum) == (ordered[0], ordered[-1])
    for fraction, quantile in found.quantiles:
        place = fraction * (ordered.size - 1)
        low, high = ordered[math.floor(place)], ordered[math.ceil(place)]
        expected = low + (high - low) * (place - math.floor(place))
        least = math.ulp(0.0)  # between two of the smallest numbers there is nothing: either may be the answer
        assert quantile == pytest.approx(expected, rel=1e-12, abs=1e-14 * max(abs(low), abs(high)) + least)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("value_range", [None, (-1.0, 2.0)])
def test_a_look_is_both_at_once(dtype: str, value_range: tuple[float, float] | None) -> None:
    source = sample(dtype, (90, 101), spoiled=True).source
    histogram, statistics = look(source, 50, value_range, progress=SILENT)
    alone = histogram_of(source, 50, value_range, progress=SILENT)
    np.testing.assert_array_equal(histogram.counts, alone.counts)
    np.testing.assert_array_equal(histogram.edges, alone.edges)
    assert dataclasses.astuple(statistics) == dataclasses.astuple(look(source, 7, progress=SILENT)[1])


@pytest.mark.parametrize(("dtype", "passes"), [("bfloat16", 1), ("float32", 2), ("float64", 4), ("int32", 2)])
def test_threads_give_identical_numbers(dtype: str, passes: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 10_000)
    source = sample(dtype, (500, 301), spoiled=True).source
    results = []
    for threads in (1, 2, 5):
        progress = Recorder()
        results.append(dataclasses.astuple(statistics_of(source, progress=progress, threads=threads)))
        assert progress.done == progress.total == passes * source.array.nbytes
    assert results[0] == results[1] == results[2]
    with pytest.raises(Cancelled):
        statistics_of(source, progress=Recorder(limit=30_000), threads=2)


def test_overflowing_moments_are_said_to_be_unknown() -> None:
    found = statistics_of(ArraySource(np.array([-1e300, 1e300, 0.0])), progress=SILENT)
    assert (found.minimum, found.maximum, median(found)) == (-1e300, 1e300, 0.0)
    assert not math.isfinite(found.std)
    assert math.isnan(found.kurtosis)
    assert found.outliers == 0


def test_complex_values_are_refused() -> None:
    with pytest.raises(CheckpointError, match="complex64"):
        look(ArraySource(np.zeros(4, np.complex64)), 10, progress=SILENT)
