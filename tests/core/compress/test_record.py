"""A record is taken for finished only when it is the one that was written, and holds what the treatment stores."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.apply import solve_layer
from benchvise.core.compress.record import file_sha256, is_whole, write_record
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress
from benchvise.core.recipe.recipe import Treatment
from tests.core.compress.file_reader import FileReader

INT8 = Treatment(Integer(bits=8, group_size=16))


@pytest.fixture
def layer(tmp_path: Path) -> Layer:
    save_file({"a.weight": torch.randn(8, 64)}, tmp_path / "model.safetensors")
    return open_checkpoint(tmp_path).layer("a")


@pytest.fixture
def record(layer: Layer, tmp_path: Path) -> tuple[Path, str]:
    path = tmp_path / "records" / "record.safetensors"
    solution = solve_layer(layer, INT8, FileReader(), NullProgress())
    return path, write_record(path, layer, INT8, solution.measured_rows(), solution.tail)


def test_what_was_written_is_whole(layer: Layer, record: tuple[Path, str]) -> None:
    path, sha256 = record
    assert is_whole(path, layer, INT8, sha256)
    assert sha256 == file_sha256(path)
    assert not is_whole(path, layer, INT8, "")
    assert not is_whole(path.with_name("other"), layer, INT8, sha256)


def test_another_content_of_the_same_size_is_not(layer: Layer, record: tuple[Path, str]) -> None:
    path, sha256 = record
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not is_whole(path, layer, INT8, sha256)


@pytest.mark.parametrize("change", ["dtype", "shape", "name", "missing"])
def test_nor_are_other_tensors_whatever_the_journal_says(layer: Layer, record: tuple[Path, str], change: str) -> None:
    path, _ = record
    tensors = load_file(path)
    name, values = next((name, values) for name, values in tensors.items() if values.dim() == 2)
    del tensors[name]
    changed: dict[str, dict[str, Tensor]] = {
        "dtype": {
            name: values.view(torch.int8 if values.dtype == torch.uint8 else torch.uint8).reshape(len(values), -1)
        },
        "shape": {name: values.reshape(2 * len(values), -1)},
        "name": {"other": values},
        "missing": {},
    }
    save_file(tensors | changed[change], path)
    assert not is_whole(path, layer, INT8, file_sha256(path))
