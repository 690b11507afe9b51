"""Files of numpy: numpy itself is the oracle."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.read import read_rows
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError

ARRAYS = {
    "dense/kernel": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(20, dtype=np.float64).reshape(4, 5)),
    "half": np.ones(3, np.float16),
    "scalar": np.int64(7),
}


def test_arrays_of_an_archive(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", text=np.array(["no", "numbers"]), **ARRAYS)
    checkpoint = open_checkpoint(tmp_path / "x.npz")
    assert (checkpoint.kind, checkpoint.left_out) == ("npz", ("text",))
    assert {layer.tensor.name for layer in checkpoint.layers} == set(ARRAYS)
    for layer in checkpoint.layers:
        assert np.array_equal(load_tensor(layer.tensor).numpy(), ARRAYS[layer.tensor.name])


def test_a_single_array(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", ARRAYS["turned"])
    layer = open_checkpoint(tmp_path / "w.npy").layers[0]
    assert np.array_equal(load_tensor(layer.tensor).numpy(), ARRAYS["turned"])


def test_a_header_that_lies(tmp_path: Path) -> None:
    np.save(tmp_path / "w.npy", np.zeros((2, 2), np.float32))
    content = (tmp_path / "w.npy").read_bytes().replace(b"(2, 2)", b"(2, 9)")
    (tmp_path / "w.npy").write_bytes(content)
    with pytest.raises(CheckpointError, match="needs 72 bytes, but 16"):
        open_checkpoint(tmp_path / "w.npy")


def test_arrays_of_a_compressed_archive(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", **ARRAYS)
    for layer in open_checkpoint(tmp_path / "x.npz").layers:
        expected = ARRAYS[layer.tensor.name]
        assert np.array_equal(load_tensor(layer.tensor).numpy(), expected)
        if expected.shape:
            assert np.array_equal(read_rows(layer.tensor, 1, 3), expected[1:3])


def test_an_array_that_no_compression_makes_so_small_is_refused(tmp_path: Path) -> None:
    described = b"{'descr': '<f4', 'fortran_order': False, 'shape': (268435456,), }"
    head = b"\x93NUMPY\x01\x00" + len(described).to_bytes(2, "little") + described
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.npy", head + b"\0" * 100)
    content = (tmp_path / "x.npz").read_bytes()
    true, lie = (len(head) + 100).to_bytes(4, "little"), (len(head) + (1 << 30)).to_bytes(4, "little")
    (tmp_path / "x.npz").write_bytes(content.replace(true, lie))
    with pytest.raises(CheckpointError, match="cannot be unpacked to"):
        open_checkpoint(tmp_path / "x.npz")
