"""Reading raw values: numpy on the whole file as the oracle."""

from __future__ import annotations

import math
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchvise.core.checkpoint import read
from benchvise.core.checkpoint.read import block_rows, raw_dtype, read_rows
from benchvise.core.checkpoint.records import DTYPE_BITS, TensorEntry
from benchvise.core.errors import CheckpointError

VALUES = np.random.default_rng(0).integers(0, 2**16, 4096, dtype=np.uint16)
START = 24


@pytest.fixture
def file(tmp_path: Path) -> str:
    path = tmp_path / "data"
    path.write_bytes(bytes(START) + VALUES.tobytes())
    return str(path)


def entry_of(file: str, shape: tuple[int, ...], strides: tuple[int, ...] | None = None, first: int = 0) -> TensorEntry:
    return TensorEntry("w", "bfloat16", shape, file, START + 2 * first, 2 * math.prod(shape), strides)


def expected(entry: TensorEntry) -> np.ndarray:
    first = (entry.offset - START) // 2
    if entry.strides is None:
        return VALUES[first : first + entry.elements].reshape(entry.shape)
    return np.lib.stride_tricks.as_strided(VALUES[first:], entry.shape, [2 * stride for stride in entry.strides])


def test_raw_dtypes_have_the_width_of_their_dtype() -> None:
    for dtype, bits in DTYPE_BITS.items():
        assert raw_dtype(dtype).itemsize * 8 == bits
    assert raw_dtype("bfloat16") == np.uint16
    with pytest.raises(CheckpointError, match="float7"):
        raw_dtype("float7")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), shape=st.lists(st.integers(0, 6), max_size=4), strided=st.booleans())
def test_any_rows_of_any_tensor(file: str, data: st.DataObject, shape: list[int], strided: bool) -> None:
    strides = tuple(data.draw(st.integers(0, 90)) for _ in shape) if strided and shape else None
    entry = entry_of(file, tuple(shape), strides, first=data.draw(st.integers(0, 100)))
    stop = data.draw(st.integers(0, read.rows(entry)))
    start = data.draw(st.integers(0, stop))
    rows = read_rows(entry, start, stop)
    assert rows.flags.writeable
    assert rows.shape == (stop - start, *shape[1:])
    whole = expected(entry).reshape(read.rows(entry), *shape[1:])
    np.testing.assert_array_equal(rows, whole[start:stop])


def test_strided_tensors_larger_than_a_piece(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(read, "_GATHER_BYTES", 64)
    monkeypatch.setattr(read, "_SPARSE_BYTES", 8)
    for shape, strides in {(32, 64): (1, 32), (7, 5, 3): (3, 100, 21), (16, 2): (128, 1), (40,): (100,)}.items():
        entry = entry_of(file, shape, strides)
        np.testing.assert_array_equal(read_rows(entry, 1, shape[0]), expected(entry)[1:])


def test_without_positioned_reads(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "preadv")
    np.testing.assert_array_equal(read_rows(entry_of(file, (8, 8)), 2, 5), VALUES[16:40].reshape(3, 8))


def test_reads_that_come_in_parts(file: str, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = os.preadv
    monkeypatch.setattr(os, "preadv", lambda fd, views, offset: whole(fd, [views[0][:13]], offset))
    np.testing.assert_array_equal(read_rows(entry_of(file, (8, 8)), 0, 8), VALUES[:64].reshape(8, 8))


def test_rows_beyond_the_tensor(file: str) -> None:
    for start, stop in ((0, 9), (-1, 2), (5, 4)):
        with pytest.raises(IndexError):
            read_rows(entry_of(file, (8, 8)), start, stop)


def test_files_that_changed_meanwhile(file: str) -> None:
    entry = entry_of(file, (64, 64))
    os.truncate(file, 1000)
    with pytest.raises(CheckpointError, match="ends within 'w'") as caught:
        read_rows(entry, 0, 64)
    assert caught.value.remedy
    with pytest.raises(CheckpointError, match="cannot be read") as caught:
        read_rows(replace(entry, file=file + "-gone"), 0, 64)
    assert caught.value.where == file + "-gone"


@pytest.mark.parametrize(
    ("shape", "block_bytes", "rows"),
    [((10, 8), 64, 4), ((10, 8), 65, 4), ((10, 8), 1, 1), ((10, 8), 10**9, 10), ((), 64, 1), ((0, 8), 64, 1),
     ((10, 0), 64, 10)],
)  # fmt: skip
def test_rows_per_block(shape: tuple[int, ...], block_bytes: int, rows: int) -> None:
    assert block_rows(shape, "bfloat16", block_bytes) == rows
