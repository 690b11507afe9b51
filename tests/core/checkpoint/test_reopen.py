"""Headers are read again exactly when something has changed."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from benchvise.core.checkpoint import reopen
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.reopen import LastOpened
from benchvise.core.errors import CheckpointError


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def counted(path: str) -> object:
        calls.append(Path(path).name)
        return open_checkpoint(path)

    monkeypatch.setattr(reopen, "open_checkpoint", counted)
    return calls


def checkpoint(folder: Path, width: int = 4) -> Path:
    folder.mkdir(exist_ok=True)
    save_file({"a.weight": torch.zeros(3, width)}, folder / "model.safetensors")
    return folder


def test_the_same_again_is_not_read_again(opened: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    last, place = LastOpened(), checkpoint(tmp_path / "one")
    first = last.open(str(place))
    assert last.open(str(place)) is first
    monkeypatch.chdir(tmp_path)
    assert last.open("one") is first
    assert opened == ["one"]
    assert first == open_checkpoint(place)


def test_another_checkpoint_takes_its_place(opened: list[str], tmp_path: Path) -> None:
    last = LastOpened()
    for name in ("one", "two", "one"):
        assert last.open(str(checkpoint(tmp_path / name))).path.endswith(name)
    assert opened == ["one", "two", "one"]


def test_changes_are_seen(opened: list[str], tmp_path: Path) -> None:
    last, place = LastOpened(), checkpoint(tmp_path / "one")
    last.open(str(place))
    checkpoint(place, width=8)
    assert last.open(str(place)).layers[0].shape == (3, 8)
    (place / "config.json").write_text('{"architectures": ["X"]}')
    assert last.open(str(place)).architecture == "X"
    os.utime(place / "model.safetensors", (1, 1))
    last.open(str(place))
    assert len(opened) == 4
    alone = str(place / "model.safetensors")
    last.open(alone)
    (place / "config.json").unlink()
    assert last.open(alone).architecture == ""


def test_a_checkpoint_that_went_away(tmp_path: Path) -> None:
    last, place = LastOpened(), checkpoint(tmp_path / "one")
    last.open(str(place))
    (place / "model.safetensors").unlink()
    with pytest.raises(CheckpointError):
        last.open(str(place))
    assert last.open(str(checkpoint(place))).tensors == 1
