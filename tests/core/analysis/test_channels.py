from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from benchvise.core.analysis import source as source_module
from benchvise.core.analysis.channels import channel_ranges_of
from benchvise.core.analysis.source import ArraySource
from benchvise.core.protocol.results import ChannelRanges
from tests.core.analysis.tensor_samples import DTYPES, SILENT, Recorder, sample


def assert_ranges(found: ChannelRanges, channels: list[np.ndarray]) -> None:
    """Compare with each channel taken alone, its finite values only."""
    assert len(found.minimum) == len(channels)
    for index, channel in enumerate(channels):
        finite = channel[np.isfinite(channel)]
        numbers = (found.minimum[index], found.maximum[index], found.abs_max[index], found.mean[index])
        if not finite.size:
            assert np.isnan(numbers).all()
            continue
        expected = (finite.min(), finite.max(), np.abs(finite).max(), finite.mean())
        np.testing.assert_allclose(numbers, np.array(expected, np.float32), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 53), (4, 3, 5, 2), (61,), ()])
@pytest.mark.parametrize("block_bytes", [300, 8 << 20])
def test_every_dtype_and_shape(
    dtype: str, shape: tuple[int, ...], block_bytes: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", block_bytes)
    tensor = sample(dtype, shape, spoiled=True)
    matrix = tensor.values.reshape(shape[0] if shape else 1, -1)
    progress = Recorder()
    rows, columns = channel_ranges_of(tensor.source, progress=progress)
    assert_ranges(rows, list(matrix))
    assert_ranges(columns, list(matrix.T))
    assert rows.mean.dtype == columns.minimum.dtype == np.float32
    assert progress.done == progress.total == tensor.source.array.nbytes


def test_channels_without_finite_values_are_nan() -> None:
    values = np.array([[np.nan, 1], [np.inf, 2], [-np.inf, -3]], np.float32)
    rows, columns = channel_ranges_of(ArraySource(values), progress=SILENT)
    assert np.isnan(columns.minimum[0])
    assert np.isnan(columns.mean[0])
    assert (columns.minimum[1], columns.maximum[1], columns.abs_max[1], columns.mean[1]) == (-3, 2, 3, 0)
    np.testing.assert_array_equal(rows.mean, [1, 2, -3])


@pytest.mark.parametrize("shape", [(0, 3), (3, 0)])
def test_empty_tensors(shape: tuple[int, int]) -> None:
    rows, columns = channel_ranges_of(ArraySource(np.zeros(shape, np.float32)), progress=SILENT)
    assert (rows.mean.shape, columns.mean.shape) == ((shape[0],), (shape[1],))
    assert np.isnan(rows.mean).all()
    assert np.isnan(columns.mean).all()


def test_threads_give_identical_numbers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 4000)
    source = sample("float32", (300, 211)).source
    one, two = (channel_ranges_of(source, progress=SILENT, threads=threads) for threads in (1, 2))
    for left, right in zip(one, two, strict=True):
        for first, second in zip(dataclasses.astuple(left), dataclasses.astuple(right), strict=True):
            np.testing.assert_array_equal(first, second)
