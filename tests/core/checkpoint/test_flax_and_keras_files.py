"""MessagePack as Flax writes it, and `.keras` archives: msgpack, numpy and h5py are the oracles."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import h5py
import msgpack
import numpy as np
import pytest

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError

KERNEL = np.arange(24, dtype=np.float32).reshape(4, 6)
ROLE = ("attention.q", 1, (6, 4))


def array(values: np.ndarray) -> msgpack.ExtType:
    """As `_ndarray_to_bytes` of flax.serialization describes it."""
    return msgpack.ExtType(1, msgpack.packb((values.shape, values.dtype.name, values.tobytes()), use_bin_type=True))


def write_flax(path: Path, tree: object) -> Path:
    path.write_bytes(msgpack.packb(tree, use_bin_type=True))
    return path


TREE = {
    "encoder": {
        "layer": {"1": {"attention": {"self": {"query": {"kernel": array(KERNEL), "bias": array(np.ones(6, "f2"))}}}}}
    },
    "LayerNorm": {"scale": array(np.ones(4, np.float32))},
}


def test_arrays_of_flax(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_flax(tmp_path / "flax_model.msgpack", TREE))
    assert checkpoint.kind == "msgpack"
    layer = checkpoint.layer("encoder.layer.1.attention.self.query.kernel")
    assert (layer.role, layer.depth, layer.matrix_shape) == ROLE
    assert np.array_equal(load_tensor(layer.tensor).numpy(), KERNEL)
    assert {each.role for each in checkpoint.layers} == {"attention.q", "bias", "norm"}


def test_a_training_state_of_flax_shows_its_parameters_alone(tmp_path: Path) -> None:
    state = {"step": 7, "params": TREE, "opt_state": {"0": {"mu": TREE, "nu": TREE}}}
    checkpoint = open_checkpoint(write_flax(tmp_path / "checkpoint_7", state))
    assert (checkpoint.tensors, checkpoint.left_out) == (3, ("step", "opt_state"))


@pytest.mark.parametrize(
    "claim", [b"\xdf\xff\xff\xff\xff", b"\x81\xa1a\xc6\xff\xff\xff\xff", b"\x81\xa1a\xc9\xff\xff\xff\xff\x01"]
)
def test_sizes_that_lie_are_refused(tmp_path: Path, claim: bytes) -> None:
    (tmp_path / "x.msgpack").write_bytes(claim)
    with pytest.raises(CheckpointError, match="bytes follow, but 0 are left"):
        open_checkpoint(tmp_path / "x.msgpack")


def test_a_shape_that_lies_is_refused(tmp_path: Path) -> None:
    lie = msgpack.ExtType(1, msgpack.packb(((1 << 40,), "float32", b"1234"), use_bin_type=True))
    with pytest.raises(CheckpointError, match=r"'a.w' needs 4,398,046,511,104 bytes, but 4 are there"):
        open_checkpoint(write_flax(tmp_path / "x.msgpack", {"a": {"w": lie}}))


def write_keras(path: Path, method: int) -> Path:
    weights = io.BytesIO()
    with h5py.File(weights, "w") as file:
        variables = file.create_group("bert/encoder/layer_._1/attention/self/query")
        variables.create_dataset("kernel:0", data=KERNEL)
        variables.create_dataset("packed:0", data=KERNEL + 1, chunks=(2, 6), compression="gzip")
        variables.create_dataset("more:0", data=KERNEL + 2, chunks=(2, 6), compression="gzip")
        file.create_group("optimizer/vars").create_dataset("0", data=KERNEL)
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("metadata.json", "{}")
        archive.writestr("model.weights.h5", weights.getvalue())
    return path


def test_arrays_of_a_keras_archive(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_keras(tmp_path / "m.keras", zipfile.ZIP_STORED))
    assert (checkpoint.kind, checkpoint.tensors, checkpoint.left_out) == ("keras", 3, ("optimizer",))
    layer = next(each for each in checkpoint.layers if "kernel" in each.name)
    assert (layer.role, layer.depth, layer.matrix_shape) == ROLE
    values = [load_tensor(each.tensor).numpy() for each in checkpoint.layers]
    assert sorted(float(found[0, 0]) for found in values) == [0.0, 1.0, 2.0]


def test_a_compressed_keras_archive_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="is compressed within the archive"):
        open_checkpoint(write_keras(tmp_path / "m.keras", zipfile.ZIP_DEFLATED))
