from __future__ import annotations

import dataclasses
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

from benchvise.core.analysis import source as source_module
from benchvise.core.analysis.channels import channel_ranges_of
from benchvise.core.analysis.heat_map import error_map_of, heat_map_of
from benchvise.core.analysis.source import ArraySource, EntrySource, map_in_order, matrix_shape, size_bytes
from benchvise.core.analysis.statistics import look
from benchvise.core.checkpoint.records import TensorEntry
from benchvise.core.errors import CheckpointError
from tests.core.analysis.tensor_samples import DTYPES, SILENT, sample


def stored(folder: Path, source: ArraySource) -> EntrySource:
    """The same tensor in a file, behind 13 other bytes."""
    file = folder / "tensor"
    file.write_bytes(b"\0" * 13 + source.array.tobytes())
    entry = TensorEntry("tensor", source.dtype, source.shape, str(file), 13, source.array.nbytes)
    return EntrySource(entry)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("shape", [(37, 53), (4, 3, 5, 2), (611,), (), (0, 4)])
def test_a_file_gives_the_numbers_of_the_array(
    dtype: str, shape: tuple[int, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(source_module, "BLOCK_BYTES", 700)
    array = sample(dtype, shape, spoiled=True).source
    file = stored(tmp_path, array)
    assert matrix_shape(file) == matrix_shape(array)
    assert size_bytes(file) == array.array.nbytes
    for left, right in zip(look(file, 20, progress=SILENT), look(array, 20, progress=SILENT), strict=True):
        for first, second in zip(dataclasses.astuple(left), dataclasses.astuple(right), strict=True):
            np.testing.assert_array_equal(first, second)
    np.testing.assert_array_equal(heat_map_of(file, progress=SILENT).values, heat_map_of(array, progress=SILENT).values)
    np.testing.assert_array_equal(
        channel_ranges_of(file, progress=SILENT)[1].mean, channel_ranges_of(array, progress=SILENT)[1].mean
    )


def test_a_weight_has_no_error_against_itself(tmp_path: Path) -> None:
    array = sample("bfloat16", (30, 40)).source
    assert error_map_of(stored(tmp_path, array), array, progress=SILENT).extreme == 0


def test_pairs_of_nibbles_are_two_columns_each() -> None:
    source = ArraySource(np.array([[0x71, 0x11], [0x22, 0xF2]], np.uint8), "float4_e2m1fn_x2")
    assert matrix_shape(source) == (2, 4)
    assert size_bytes(source) == 4
    np.testing.assert_array_equal(heat_map_of(source, progress=SILENT).values, [[0.5, 6, 0.5, 0.5], [1, 1, 1, -6]])
    rows, columns = channel_ranges_of(source, progress=SILENT)
    np.testing.assert_array_equal(rows.abs_max, [6, 6])
    np.testing.assert_array_equal(columns.maximum, [1, 6, 1, 0.5])


def test_a_file_that_became_shorter_is_told(tmp_path: Path) -> None:
    file = stored(tmp_path, ArraySource(np.zeros((9, 9), np.float32)))
    Path(file.entry.file).write_bytes(b"\0" * 20)
    with pytest.raises(CheckpointError, match="ends within"):
        look(file, 10, progress=SILENT)


def test_results_come_in_order_and_few_items_are_under_way() -> None:
    taken: list[int] = []
    gate = threading.Event()

    def items() -> object:
        for item in range(20):
            taken.append(item)
            yield item

    def slow_first(item: int) -> int:
        if item == 0:
            gate.wait(10)
        return item

    results = map_in_order(items(), slow_first, threads=2)  # type: ignore[arg-type]
    timer = threading.Timer(0.1, gate.set)
    timer.start()
    assert next(results) == 0
    assert len(taken) <= 3
    assert list(results) == list(range(1, 20))
    timer.join()


def test_looking_does_without_torch() -> None:
    rooms = "channels, heat_map, histogram, source, statistics, value_counts"
    script = f"import sys; from benchvise.core.analysis import {rooms}; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True, cwd=Path(__file__).parents[3])
