"""Initialisers of ONNX models: the package onnx writes and is the oracle."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.tensors import load_tensor
from benchvise.core.errors import CheckpointError

DRAW = np.random.default_rng(0)
ARRAYS = {
    "encoder.layers.1.fc1.weight": DRAW.standard_normal((8, 6)).astype(np.float32),
    "onnx::MatMul_7": DRAW.standard_normal((6, 4)).astype(np.float16),
    "ids": np.array([[0, -1, 2**40]], np.int64),
    "empty": np.zeros((0, 3), np.float32),
}


def model(*initialisers: TensorProto) -> onnx.ModelProto:
    typed = {"": 1, "double": TensorProto.DOUBLE, "half": TensorProto.FLOAT16, "bytes": TensorProto.INT8}
    plain = [
        helper.make_tensor("floats", typed[""], (2, 2), [1.5, -2.0, 3.0, 0.25]),
        helper.make_tensor("double", typed["double"], (3,), [1.0, 2.0, -3.0]),
        helper.make_tensor("half", typed["half"], (2,), np.array([0.5, -7.0], np.float16)),
        helper.make_tensor("bytes", typed["bytes"], (4,), [-128, -1, 0, 127]),
    ]
    constant = helper.make_node("Constant", [], ["table"], value=numpy_helper.from_array(np.eye(3, dtype=np.float32)))
    inner = helper.make_graph([], "inner", [], [], [numpy_helper.from_array(np.ones((2, 5), np.float32), "within")])
    branch = helper.make_node("If", ["c"], ["y"], then_branch=inner, else_branch=inner)
    words = helper.make_tensor("words", TensorProto.STRING, (1,), [b"no number"])
    stored = [numpy_helper.from_array(values, name) for name, values in ARRAYS.items()]
    return helper.make_model(
        helper.make_graph([constant, branch], "g", [], [], [*stored, *plain, words, *initialisers])
    )


def test_initialisers_are_those_that_onnx_reads(tmp_path: Path) -> None:
    written = model()
    onnx.save(written, tmp_path / "any name")
    checkpoint = open_checkpoint(tmp_path / "any name")
    assert (checkpoint.kind, checkpoint.left_out) == ("onnx", ("words",))
    found = {layer.tensor.name: load_tensor(layer.tensor).numpy() for layer in checkpoint.layers}
    expected = {each.name: numpy_helper.to_array(each) for each in written.graph.initializer if each.name != "words"}
    expected |= {"table": np.eye(3, dtype=np.float32), "within": np.ones((2, 5), np.float32)}
    assert found.keys() == expected.keys()
    for name, values in expected.items():
        assert (found[name].dtype, found[name].tobytes()) == (values.dtype, values.tobytes()), name
    linear = checkpoint.layer("encoder.layers.1.fc1")
    assert (linear.role, linear.depth, linear.shape) == ("mlp.up", 1, (8, 6))


def test_values_in_a_file_beside_the_model(tmp_path: Path) -> None:
    big = DRAW.standard_normal((64, 32)).astype(np.float32)
    written = model(numpy_helper.from_array(big, "big.weight"))
    onnx.save(
        written, tmp_path / "model.onnx", save_as_external_data=True, location="model.onnx_data", size_threshold=0
    )
    assert np.array_equal(load_tensor(open_checkpoint(tmp_path).layer("big").tensor).numpy(), big)
    (tmp_path / "model.onnx_data").unlink()
    with pytest.raises(CheckpointError, match=r"'model.onnx_data', which is missing"):
        open_checkpoint(tmp_path)


@pytest.mark.parametrize("location", ["../secret", "/etc/passwd", "a/../../b", "C:\\x", ""])
def test_values_outside_the_folder_are_refused(tmp_path: Path, location: str) -> None:
    tensor = TensorProto(name="w", dims=[1], data_type=1, data_location=TensorProto.EXTERNAL)
    tensor.external_data.add(key="location", value=location)
    (tmp_path / "m.onnx").write_bytes(model(tensor).SerializeToString())
    with pytest.raises(CheckpointError, match="'w' points outside its folder"):
        open_checkpoint(tmp_path / "m.onnx")


def test_dimensions_that_lie_are_refused(tmp_path: Path) -> None:
    for dims in ([1 << 40], [1 << 62, 4], [3], [-1]):
        tensor = TensorProto(name="w", dims=dims, data_type=1, raw_data=b"\0" * 8)
        (tmp_path / "m.onnx").write_bytes(model(tensor).SerializeToString())
        with pytest.raises(CheckpointError, match=r"'w' (needs|is larger)"):
            open_checkpoint(tmp_path / "m.onnx")
