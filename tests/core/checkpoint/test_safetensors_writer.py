"""Files written piece by piece, read back by the safetensors library."""

from __future__ import annotations

import json
import resource
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from benchvise.core.checkpoint.records import StoredTensor
from benchvise.core.checkpoint.safetensors_header import read_header
from benchvise.core.checkpoint.safetensors_writer import SafetensorsWriter


@pytest.mark.parametrize(
    "dtype", ["float32", "bfloat16", "float16", "float64", "int8", "uint8", "int32", "int64", "bool"]
)
def test_tensors_of_any_dtype_and_shape(dtype: str, tmp_path: Path) -> None:
    kind = getattr(torch, dtype)
    tensors = {
        "matrix": torch.arange(35).reshape(5, 7).to(kind),
        "scalar": torch.tensor(1).to(kind),
        "empty": torch.zeros(0, 4).to(kind),
        "näme/ü": torch.ones(3).to(kind),
    }
    path = tmp_path / "file.safetensors"
    declared = [StoredTensor(name, dtype, tuple(tensor.shape)) for name, tensor in tensors.items()]
    with SafetensorsWriter(path, declared, {"made": "here"}) as file:
        for name, tensor in reversed(tensors.items()):
            file.write(name, tensor)
    found = load_file(path)
    assert found.keys() == tensors.keys()
    assert all(torch.equal(found[name], tensor) for name, tensor in tensors.items())
    with safe_open(path, "pt") as opened:
        assert opened.metadata() == {"made": "here"}
    assert {entry.name: entry.dtype for entry in read_header(path).entries} == dict.fromkeys(tensors, dtype)


def test_pieces_in_turn(tmp_path: Path) -> None:
    path = tmp_path / "file.safetensors"
    first, second = torch.randn(10, 4), torch.randn(6, 3).T
    with SafetensorsWriter(
        path, [StoredTensor("first", "float32", (10, 4)), StoredTensor("second", "float32", (3, 6))]
    ) as file:
        file.write("first", first[:3])
        file.write("second", second[:1])
        file.write("first", first[3:].numpy())
        file.write("second", second[1:])
    found = load_file(path)
    assert torch.equal(found["first"], first)
    assert torch.equal(found["second"], second)


def test_too_much_and_too_little(tmp_path: Path) -> None:
    declared = [StoredTensor("a", "float32", (4,)), StoredTensor("b", "float32", (4,))]
    with SafetensorsWriter(tmp_path / "much", declared) as file:
        file.write("a", torch.zeros(3))
        with pytest.raises(ValueError, match="'a' is declared with fewer bytes"):
            file.write("a", torch.zeros(2))
        file.write("a", torch.zeros(1))
        file.write("b", torch.zeros(4))
    file = SafetensorsWriter(tmp_path / "little", declared)
    file.write("a", np.zeros(4, np.float32))
    with pytest.raises(ValueError, match="not written to the end: b"):
        file.close()


def test_an_existing_file_is_never_overwritten(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(FileExistsError):
        SafetensorsWriter(tmp_path / "file", [])
    assert (tmp_path / "file").read_text() == "mine"


def test_a_disk_that_takes_no_more(tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(OSError, match="File too large"):
            SafetensorsWriter(tmp_path / "file", [StoredTensor("a", "float32", (1000,))])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_the_data_begins_at_a_multiple_of_eight(tmp_path: Path) -> None:
    for length in range(1, 10):
        path = tmp_path / str(length)
        with SafetensorsWriter(path, [StoredTensor("n" * length, "uint8", (3,))]) as file:
            file.write("n" * length, torch.tensor([1, 2, 3], dtype=torch.uint8))
        content = path.read_bytes()
        size = int.from_bytes(content[:8], "little")
        assert size % 8 == 0
        assert json.loads(content[8 : 8 + size])["n" * length]["shape"] == [3]
        assert content[8 + size :] == b"\1\2\3"
