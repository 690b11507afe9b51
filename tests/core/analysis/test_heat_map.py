from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchvise.core.analysis import source as source_module
from benchvise.core.analysis.heat_map import error_map_of, heat_map_of
from benchvise.core.analysis.source import ArraySource
from benchvise.core.errors import CheckpointError
from benchvise.core.protocol.results import HeatMap
from tests.core.analysis.tensor_samples import DTYPES, SILENT, Recorder, sample


def assert_shows(found: HeatMap, matrix: np.ndarray) -> None:
    """Each cell holds a value of its part of the matrix, and none there is of larger magnitude."""
    assert (found.row_edges[0], found.row_edges[-1]) == (0, matrix.shape[0])
    assert (found.column_edges[0], found.column_edges[-1]) == (0, matrix.shape[1])
    assert found.values.dtype == np.float32
    for row in range(found.values.shape[0]):
        for column in range(found.values.shape[1]):
            part = matrix[
                found.row_edges[row] : found.row_edges[row + 1],
                found.column_edges[column] : found.column_edges[column + 1],
            ]
            cell = found.values[row, column]
            known = part[~np.isnan(part)]
            if known.size:
                assert cell in known
                assert abs(cell) == np.abs(known).max()
            else:
                assert np.isnan(cell)
    magnitudes = np.abs(found.values[np.isfinite(found.values)])
    assert found.extreme == magnitudes.max(initial=0)
    assert found.limit == pytest.approx(np.quantile(magnitudes, 0.999) if magnitudes.size else 0.0)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 53), (4, 3, 5, 2), (61,), ()])
def test_every_dtype_and_shape(dtype: str, shape: tuple[int, ...]) -> None:
    tensor = sample(dtype, shape, spoiled=True)
    matrix = tensor.values.astype(np.float32).reshape(shape[0] if shape else 1, -1)
    assert_shows(heat_map_of(tensor.source, 16, 10, progress=SILENT), matrix)


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 45), st.integers(1, 45), st.integers(4, 3000))
def test_odd_sizes_and_blocks(rows: int, columns: int, most_rows: int, most_columns: int, block_bytes: int) -> None:
    values = np.random.default_rng(rows * 41 + columns).standard_normal((rows, columns)).astype(np.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(source_module, "BLOCK_BYTES", block_bytes)
        found = heat_map_of(ArraySource(values), most_rows, most_columns, progress=SILENT, threads=2)
    assert found.values.shape == (min(rows, most_rows), min(columns, most_columns))
    assert_shows(found, values)


def test_one_outlier_among_a_million_stays_visible() -> None:
    values = np.random.default_rng(0).standard_normal((1024, 1024)).astype(np.float32)
    values[777, 333] = -50
    found = heat_map_of(ArraySource(values), 64, 64, progress=SILENT)
    assert found.values[777 // 16, 333 // 16] == -50
    assert found.extreme == 50
    assert found.limit < 50


@pytest.mark.parametrize("shape", [(0, 5), (5, 0), (0,)])
def test_nothing_to_show(shape: tuple[int, ...]) -> None:
    found = heat_map_of(ArraySource(np.zeros(shape, np.float32)), progress=SILENT)
    assert found.values.size == 0
    assert (found.limit, found.extreme) == (0, 0)


@pytest.mark.parametrize("before_dtype", ["bfloat16", "float32", "float64", "float16"])
def test_the_error_is_after_minus_before(before_dtype: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sample(before_dtype, (45, 31), spoiled=True)
    after = np.nan_to_num(before.values.astype(np.float32), posinf=1, neginf=1).round(1)
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 1000)
    progress = Recorder()
    found = error_map_of(before.source, ArraySource(after), 9, 8, progress=progress)
    stored = before.values if before_dtype == "float64" else before.values.astype(np.float32)
    assert_shows(found, (after - stored).astype(np.float32))
    assert progress.done == progress.total == before.source.array.nbytes + after.nbytes


def test_shapes_must_agree() -> None:
    with pytest.raises(CheckpointError, match=r"\[4, 3\].*\[3, 4\]"):
        error_map_of(ArraySource(np.zeros((4, 3))), ArraySource(np.zeros((3, 4))), progress=SILENT)
