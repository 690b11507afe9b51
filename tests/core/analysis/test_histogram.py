from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from benchvise.core.analysis import source as source_module
from benchvise.core.analysis.histogram import bin_edges, count_in_bins, histogram_of, histogram_of_counts
from benchvise.core.analysis.source import ArraySource
from benchvise.core.analysis.value_counts import pattern_counts_of
from benchvise.core.errors import Cancelled, UserError
from tests.core.analysis.tensor_samples import DTYPES, SILENT, Recorder, sample


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("bins", [1, 7, 512])
@pytest.mark.parametrize("value_range", [None, (-1.5, 4.0), (500.0, 600.0), (2.0, 2.0)])
def test_counts_equal_numpys(dtype: str, bins: int, value_range: tuple[float, float] | None) -> None:
    tensor = sample(dtype, (61, 131), spoiled=True)
    found = histogram_of(tensor.source, bins, value_range, progress=SILENT)
    counts, edges = np.histogram(tensor.finite, bins, range=value_range)
    np.testing.assert_array_equal(found.counts, counts)
    np.testing.assert_array_equal(found.edges, edges)
    assert found.counts.dtype == np.int64


@given(
    hnp.arrays(np.float32, hnp.array_shapes(max_dims=3, max_side=9), elements=st.floats(-1e6, 1e6, width=32)),
    st.integers(1, 60),
)
def test_any_float32_array_counts_as_numpy_counts(values: np.ndarray, bins: int) -> None:
    found = histogram_of(ArraySource(values), bins, progress=SILENT, threads=1)
    assert found.counts.sum() == values.size
    try:
        counts, edges = np.histogram(values.astype(np.float64), bins)
    except ValueError:  # numpy gives up where the range cannot be divided into that many bins
        return
    np.testing.assert_array_equal(found.edges, edges)
    np.testing.assert_array_equal(found.counts, counts)


@pytest.mark.parametrize(("low", "high"), [(-8, 8), (0, 1), (1e6, 1e6 + 1), (-3e-5, 7e-5)])
def test_values_on_the_edges_belong_to_the_upper_bin(low: float, high: float) -> None:
    edges = bin_edges(100, (low, high))
    around = np.concatenate([edges, np.nextafter(edges, -np.inf)[1:], np.nextafter(edges, np.inf)[:-1]])
    np.testing.assert_array_equal(count_in_bins(around, edges), np.histogram(around, 100, range=(low, high))[0])


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64"])
@pytest.mark.parametrize("constant", [0.0, 1.0, -2.5, 2.0**60])
def test_a_constant_falls_in_the_middle(dtype: str, constant: float) -> None:
    values = np.full((5, 3), constant, np.float32)
    stored = ArraySource((values.view(np.uint32) >> 16).astype(np.uint16), dtype) if dtype == "bfloat16" else None
    found = histogram_of(stored or ArraySource(values.astype(dtype)), 11, progress=SILENT)
    assert found.counts.tolist() == [0] * 5 + [15] + [0] * 5
    assert found.edges[0] < constant < found.edges[-1]
    if abs(constant) < 1e6:
        assert found.edges[-1] - found.edges[0] == 1.0


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "int64", "float8_e4m3fn"])
def test_without_finite_values_the_counts_are_zero(dtype: str) -> None:
    empty = sample(dtype, (0, 4)).source
    found = histogram_of(empty, 4, progress=SILENT)
    assert found.edges.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert found.counts.tolist() == [0] * 4


def test_only_nan_counts_as_no_finite_value() -> None:
    for source in (ArraySource(np.full(9, np.nan, np.float32)), ArraySource(np.full(9, 0x7FC0, np.uint16), "bfloat16")):
        found = histogram_of(source, 2, progress=SILENT)
        assert (found.edges.tolist(), found.counts.tolist()) == ([0, 0.5, 1], [0, 0])


def test_ranges_that_overflow_or_cannot_be_divided_still_count_everything() -> None:
    largest = np.finfo(np.float64).max
    far_apart = histogram_of(ArraySource(np.array([-largest, 0.0, 1.0, largest])), 4, progress=SILENT)
    assert far_apart.counts.tolist() == [1, 0, 2, 1]
    assert np.isfinite(far_apart.edges).all()
    neighbours = np.array([1.0, math.nextafter(1.0, 2.0)])
    assert histogram_of(ArraySource(neighbours), 100, progress=SILENT).counts.sum() == 2


def test_counts_can_be_binned_again_without_the_data() -> None:
    tensor = sample("bfloat16", (100, 100))
    counts = pattern_counts_of(tensor.source, progress=SILENT)
    for bins, value_range in ((64, None), (1000, (-0.5, 0.5)), (3, (0.0, 9.0))):
        again = histogram_of_counts(counts, bins, value_range)
        np.testing.assert_array_equal(again.counts, np.histogram(tensor.finite, bins, range=value_range)[0])


@pytest.mark.parametrize("bins", [0, -1, 65_537])
def test_bins_out_of_bounds_are_refused(bins: int) -> None:
    with pytest.raises(UserError, match="bins"):
        histogram_of(sample("float32", (4,)).source, bins, progress=SILENT)


@pytest.mark.parametrize("value_range", [(1.0, 0.0), (math.nan, 1.0), (0.0, math.inf)])
def test_impossible_ranges_are_refused(value_range: tuple[float, float]) -> None:
    with pytest.raises(UserError, match="is not a range"):
        histogram_of(sample("bfloat16", (4,)).source, 5, value_range, progress=SILENT)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_blocks_threads_and_progress(dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    tensor = sample(dtype, (301, 67))
    expected = np.histogram(tensor.values, 33)[0]
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 5000)
    for threads in (1, 2, None):
        progress = Recorder()
        found = histogram_of(tensor.source, 33, progress=progress, threads=threads)
        np.testing.assert_array_equal(found.counts, expected)
        assert progress.unit == "bytes"
        assert progress.done == progress.total == tensor.source.array.nbytes * (2 if dtype == "float32" else 1)
    with pytest.raises(Cancelled):
        histogram_of(tensor.source, 33, progress=Recorder(limit=20_000))
