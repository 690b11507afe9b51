"""Texts are read strictly and cut as the judge cuts them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.evaluate.text import cut_windows, read_text, text_windows
from benchvise.core.runtime.tokenizer import load_tokenizer

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"


def test_shipped_text_is_the_evaluation_text() -> None:
    assert read_text("") == (SAMPLE / "evaluation.txt").read_text(encoding="utf-8")


def test_evaluation_and_calibration_share_no_story() -> None:
    stories = [
        set((SAMPLE / f"{name}.txt").read_text(encoding="utf-8").strip().split("\n\n"))
        for name in ("evaluation", "calibration")
    ]
    assert all(len(found) > 50 for found in stories)
    assert not stories[0] & stories[1]


def test_lines_of_json_are_joined(tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(json.dumps({"text": text}) for text in ("one", "zwei ü")) + "\n\n", encoding="utf-8")
    assert read_text(str(file)) == "one\n\nzwei ü"


SAID = {
    "text": ({"text": "one"}, "one"),
    "content": ({"content": "one", "url": "x"}, "one"),
    "messages": (
        {"messages": [{"role": "user", "content": "one"}, {"content": [{"text": "two"}, {"image": 1}]}]},
        "one\ntwo",
    ),
    "conversations": ({"conversations": [{"from": "human", "value": "one"}, {"value": "two"}]}, "one\ntwo"),
    "instruction": ({"instruction": "one", "input": "", "output": "two"}, "one\ntwo"),
}


@pytest.mark.parametrize("key", SAID)
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_records_of_data_sets(tmp_path: Path, key: str, mark: str) -> None:
    record, said = SAID[key]
    written = {
        "a.jsonl": "\r\n".join([json.dumps(record), json.dumps({"text": "last\u2028line"}, ensure_ascii=False)]),
        "a.json": json.dumps([record, "last\u2028line"]),
        "b.json": json.dumps({"version": 1, "data": [record, {"text": "last\u2028line"}]}),
    }
    for name, content in written.items():
        (tmp_path / name).write_text(mark + content, encoding="utf-8")
        assert read_text(str(tmp_path / name)) == f"{said}\n\nlast\u2028line", name


@pytest.mark.parametrize(
    ("name", "content", "says"),
    [
        ("broken.json", b'[{"text": "a"},', "not JSON"),
        ("numbers.json", b"[1, 2]", 'no "text"'),
        ("silent.jsonl", b'{"messages": []}', 'no "text"'),
        ("missing.txt", None, "No such file"),
        ("empty.txt", b" \n\t", "empty"),
        ("empty.jsonl", b"\n", "empty"),
        ("binary.txt", b"abc\xff\xfe", "not text in UTF-8"),
        ("zeros.txt", b"abc\0def", "zero bytes"),
        ("broken.jsonl", b'{"text": "a"}\n{"text": ', "not JSON"),
        ("other.jsonl", b'{"story": "a"}', 'no "text"'),
        ("list.jsonl", b"[1]", 'no "text"'),
    ],
)
def test_bad_text_is_told_with_a_remedy(tmp_path: Path, name: str, content: bytes | None, says: str) -> None:
    file = tmp_path / name
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=says) as caught:
        read_text(str(file))
    assert str(file) in caught.value.where
    assert caught.value.remedy


def test_folder_is_not_a_text(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        read_text(str(tmp_path))


@pytest.mark.parametrize(("tokens", "windows", "length"), [(1000, 3, 100), (1000, 48, 64), (257, 4, 128), (64, 9, 64)])
def test_windows_are_those_of_the_judge(tokens: int, windows: int, length: int) -> None:
    ids = torch.arange(tokens)
    count = min(windows, tokens // length)
    step = tokens // count
    expected = [list(range(i * step, i * step + length)) for i in range(count)]
    cut = cut_windows(ids, windows, length)
    assert cut.ids.tolist() == expected
    assert bool(cut.notes) == (count < windows)


def test_short_text_gives_one_short_window_and_says_so() -> None:
    cut = cut_windows(torch.arange(50), 4, 128)
    assert cut.ids.tolist() == [list(range(50))]
    assert "only 50 tokens" in cut.notes[0]


def test_too_short_text_is_refused() -> None:
    with pytest.raises(UserError, match="too short: 10 tokens"):
        cut_windows(torch.arange(10), 4, 128)


def test_windows_end_with_the_positions_of_the_model() -> None:
    cut = text_windows(open_checkpoint(SAMPLE), "", 2, 4096)
    assert tuple(cut.ids.shape) == (2, 512)
    assert "512 tokens instead of 4096" in cut.notes[0]


def test_tokens_are_those_of_the_checkpoints_tokenizer() -> None:
    tokenizer = load_tokenizer(open_checkpoint(SAMPLE / "model.safetensors"))
    ids = tokenizer("Once upon a time")["input_ids"]
    assert ids[0] == 1  # the tokenizer adds its begin token
    assert tokenizer.decode(ids, skip_special_tokens=True) == "Once upon a time"


def test_missing_tokenizer_is_told(tmp_path: Path) -> None:
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((SAMPLE / name).read_bytes())
    with pytest.raises(CheckpointError, match="tokenizer cannot be loaded") as caught:
        text_windows(open_checkpoint(tmp_path), "", 2, 64)
    assert "tokenizer.json" in caught.value.remedy
