"""Files of numpy: numpy itself is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
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


def test_a_compressed_archive_is_refused_with_a_remedy(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", a=np.zeros((9, 9)))
    with pytest.raises(CheckpointError, match="compressed within the archive") as caught:
        open_checkpoint(tmp_path / "x.npz")
    assert "savez" in caught.value.remedy
