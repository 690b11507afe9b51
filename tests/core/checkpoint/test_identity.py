"""Identities: the same for the same tensor, different for every change that could matter."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.checkpoint.identity import checkpoint_identity, tensor_identity
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError
from tests.core.checkpoint.checkpoint_samples import two_tensors


def test_every_change_shows(tmp_path: Path) -> None:
    path = two_tensors(tmp_path / "x.safetensors")
    checkpoint = open_checkpoint(path)
    entry = checkpoint.layers[0].tensor
    before = tensor_identity(entry), checkpoint_identity(checkpoint)
    assert before == (tensor_identity(entry), checkpoint_identity(open_checkpoint(path)))
    assert len(before[0]) == 64
    others = [
        replace(entry, name="z"), replace(entry, offset=entry.offset + 4), replace(entry, dtype="int32"),
        replace(entry, shape=(4,)), replace(entry, strides=(1, 2)), checkpoint.layers[1].tensor,
    ]  # fmt: skip
    assert len({before[0], *map(tensor_identity, others)}) == 7
    os.utime(path, ns=(0, 12345))
    assert tensor_identity(entry) != before[0]
    assert checkpoint_identity(checkpoint) != before[1]


def test_a_link_is_its_target(tmp_path: Path) -> None:
    path = two_tensors(tmp_path / "x.safetensors")
    (tmp_path / "y.safetensors").symlink_to(path)
    identities = {
        tensor_identity(open_checkpoint(tmp_path / name).layers[0].tensor) for name in (path.name, "y.safetensors")
    }
    assert len(identities) == 1


def test_a_file_that_is_gone(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(two_tensors(tmp_path / "x.safetensors"))
    (tmp_path / "x.safetensors").unlink()
    with pytest.raises(CheckpointError, match="not there any more"):
        tensor_identity(checkpoint.layers[0].tensor)
