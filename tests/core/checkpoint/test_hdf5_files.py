"""Arrays of HDF5 files: as they lie, in pieces, compressed; what lies about its size is refused."""

from __future__ import annotations

import contextlib
import random
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.read import read_rows
from benchvise.core.errors import CheckpointError


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "model.weights.h5"
    with h5py.File(path, "w") as out:
        layers = out.create_group("layers/dense/vars")
        layers.create_dataset("0", data=np.arange(12, dtype=np.float32).reshape(3, 4))
        layers.create_dataset("1", data=np.arange(4, dtype=np.float16), chunks=(3,), compression="gzip")
        layers.create_dataset("2", data=np.arange(40, dtype=np.float64).reshape(5, 8), chunks=(2, 3))
        out.create_dataset("words", data=["a", "b"])
        out["again"] = h5py.SoftLink("/layers")
        out["elsewhere"] = h5py.ExternalLink("other.h5", "/secret")
        layers["itself"] = out["layers"]
    return path


def test_arrays_lie_where_h5py_says(file: Path) -> None:
    checkpoint = open_checkpoint(file)
    assert (checkpoint.kind, sorted(checkpoint.left_out)) == ("hdf5", ["again", "elsewhere", "words"])
    with h5py.File(file) as expected:
        found = [layer.tensor for layer in checkpoint.layers]
        assert {entry.name.rpartition("/")[2] for entry in found} == {"0", "1", "2"}
        for entry in found:
            values = expected[entry.name][()]
            assert (entry.shape, entry.dtype) == (values.shape, str(values.dtype))
            assert np.array_equal(read_rows(entry, 0, entry.shape[0]), values)
            assert np.array_equal(read_rows(entry, 1, 3), values[1:3])


def test_an_array_that_claims_more_than_the_file_holds_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "bomb.h5"
    with h5py.File(path, "w") as out:
        out.create_dataset("x", shape=(1 << 40,), dtype="f4", chunks=(1 << 10,))
    with pytest.raises(CheckpointError, match="'x' is unpacked to more than the file can hold"):
        open_checkpoint(path)


def test_without_the_package_the_refusal_says_what_to_install(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(CheckpointError, match="pip install h5py"):
        open_checkpoint(file)


def test_mutated_headers_open_or_are_refused(file: Path) -> None:
    whole, draw = file.read_bytes(), random.Random(0)
    for _ in range(300):
        changed = bytearray(whole[: draw.randrange(600, len(whole))] if draw.random() < 0.3 else whole)
        for _ in range(draw.randrange(1, 4)):
            changed[draw.randrange(8, len(changed))] = draw.randrange(256)
        file.write_bytes(changed)
        with contextlib.suppress(CheckpointError):
            open_checkpoint(file)
