"""Calibration ids: where they come from, and every text that cannot serve."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from transformers import AutoTokenizer

from benchvise.core.blockwise.calibration import calibration_text, spread_windows
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.methods.calibration import Calibration
from tests.core.blockwise.calibrated_models import tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny("llama", tmp_path_factory.mktemp("model"))


@pytest.fixture(scope="module")
def checkpoint(folder: Path) -> Checkpoint:
    return open_checkpoint(folder)


def test_windows_are_pieces_of_the_tokenised_text(checkpoint: Checkpoint, folder: Path, tmp_path: Path) -> None:
    text = tmp_path / "text.txt"
    text.write_text("Once upon a time there was a little dog. " * 60)
    found = calibration_text(checkpoint, Calibration(str(text), 4, 32), seed=3)
    ids = AutoTokenizer.from_pretrained(folder)(text.read_text())["input_ids"]
    assert found.ids.shape == (4, 32)
    assert found.ids.dtype == torch.int64
    assert found.notes == ()
    pieces = {tuple(ids[start : start + 32]) for start in range(len(ids) - 31)}
    assert {tuple(window.tolist()) for window in found.ids} <= pieces


def test_windows_spread_and_the_seed_moves_them() -> None:
    ids = torch.arange(1000)
    found = spread_windows(ids, 4, 100, 0, where="")
    starts = found[:, 0]
    assert torch.equal(starts[1:] - starts[:-1], torch.tensor([250] * 3))
    assert torch.equal(found, starts[:, None] + torch.arange(100))
    assert torch.equal(found, spread_windows(ids, 4, 100, 0, where=""))
    others = {int(spread_windows(ids, 4, 100, seed, where="")[0, 0]) for seed in range(20)}
    assert len(others) > 5
    assert torch.equal(spread_windows(ids, 10, 100, 5, where=""), ids.reshape(10, 100))


def test_the_shipped_text_and_json_lines(checkpoint: Checkpoint, tmp_path: Path) -> None:
    assert calibration_text(checkpoint, Calibration(windows=8, window_tokens=64), 0).ids.shape == (8, 64)
    lines = tmp_path / "text.jsonl"
    lines.write_text("".join(json.dumps({"text": f"The cat number {n} sat on a mat."}) + "\n" for n in range(80)))
    assert calibration_text(checkpoint, Calibration(str(lines), 3, 64), 0).ids.shape == (3, 64)


def test_a_text_that_gives_less_is_noted(checkpoint: Checkpoint) -> None:
    found = calibration_text(checkpoint, Calibration(windows=2, window_tokens=4096), 0)
    assert found.ids.shape == (2, 128)
    assert "128 tokens instead of 4,096" in found.notes[0]
    found = calibration_text(checkpoint, Calibration(windows=60000, window_tokens=128), 0)
    assert f"fills only {len(found.ids)} of 60,000" in found.notes[0]


def test_the_digest_tells_ids_apart(checkpoint: Checkpoint) -> None:
    digests = {calibration_text(checkpoint, Calibration(windows=w, window_tokens=32), s).digest
               for w in (4, 5) for s in (0, 1)}  # fmt: skip
    assert len(digests) == 4


@pytest.mark.parametrize(
    ("content", "name", "problem"),
    [
        (b"", "text.txt", "empty"),
        (b" \n\n", "text.txt", "empty"),
        (b"\xff\xfe\x00", "text.txt", "not text"),
        (b"ab\0c", "text.txt", "zero bytes"),
        (b"too short", "text.txt", "too short: .* one window has 64"),
        (b"no json", "text.jsonl", "not JSON"),
        (b'{"words": 1}', "text.jsonl", 'no "text"'),
        (None, "text.txt", "cannot be read"),
    ],
)
def test_bad_texts(checkpoint: Checkpoint, tmp_path: Path, content: bytes | None, name: str, problem: str) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=problem) as raised:
        calibration_text(checkpoint, Calibration(str(path), 4, 64), 0)
    assert raised.value.remedy
    assert str(path) in raised.value.where


def test_a_tokenizer_that_the_model_does_not_know(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 100}))
    with pytest.raises(CheckpointError, match="the model knows only 100"):
        calibration_text(open_checkpoint(folder), Calibration(windows=2, window_tokens=32), 0)


def test_no_tokenizer(tmp_path: Path) -> None:
    folder = tiny("llama", tmp_path / "model")
    for path in folder.glob("tokenizer*"):
        path.unlink()
    with pytest.raises(CheckpointError, match="tokenizer cannot be loaded"):
        calibration_text(open_checkpoint(folder), Calibration(windows=2, window_tokens=32), 0)
