"""Greedy text is that of `transformers`, piece by piece."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from benchvise.core.errors import UserError
from benchvise.core.evaluate.generate import first_difference, generate
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.requests import Generate

SAMPLE = Path(__file__).parents[3] / "resources" / "sample"
PROMPT = "Once upon a time"


def test_text_and_log_probabilities_are_those_of_transformers() -> None:
    found = generate(Generate(str(SAMPLE), str(SAMPLE), PROMPT, 40), NullProgress())
    tokenizer = AutoTokenizer.from_pretrained(SAMPLE)
    model = AutoModelForCausalLM.from_pretrained(SAMPLE, dtype=torch.float32)
    prompt = tokenizer(PROMPT, return_tensors="pt")["input_ids"]
    ids = model.generate(prompt, max_new_tokens=40, do_sample=False)[0]
    with torch.no_grad():
        rows = model(ids[None]).logits[0].log_softmax(-1)
    start = prompt.shape[1]
    assert found.diverges_at is None
    assert found.original == found.compressed
    assert PROMPT + "".join(found.original.pieces) == tokenizer.decode(ids, skip_special_tokens=True)
    assert len(found.original.pieces) == len(ids) - start
    expected = [float(rows[i - 1, ids[i]]) for i in range(start, len(ids))]
    assert found.original.logprobs == pytest.approx(expected, abs=1e-4)


def test_first_diverging_token_is_marked(tmp_path: Path) -> None:
    shutil.copytree(SAMPLE, tmp_path / "sample")
    file = tmp_path / "sample" / "model.safetensors"
    state = load_file(file)
    generator = torch.Generator().manual_seed(5)
    for name, tensor in state.items():
        if tensor.dim() > 1:
            state[name] = tensor + 0.1 * tensor.std() * torch.randn(tensor.shape, generator=generator)
    save_file(state, file)
    found = generate(Generate(str(tmp_path / "sample"), str(SAMPLE), PROMPT, 40), NullProgress())
    at = found.diverges_at
    assert at is not None
    assert found.original.pieces[:at] == found.compressed.pieces[:at]
    assert found.original.pieces[at] != found.compressed.pieces[at]


def test_without_an_original_the_checkpoint_itself_is_it() -> None:
    assert generate(Generate(str(SAMPLE), "", PROMPT, 4), NullProgress()).diverges_at is None


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [([1, 2], [1, 2], None), ([1, 2], [1, 3], 1), ([1, 2], [1, 2, 3], 2), ([1], [], 0), ([], [], None)],
)
def test_first_difference(one: list[int], other: list[int], expected: int | None) -> None:
    assert first_difference(one, other) == expected


class Notes(NullProgress):
    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, message: str) -> None:
        self.notes.append(message)


def test_text_ends_with_the_positions_of_the_model() -> None:
    notes = Notes()
    prompt = PROMPT + " there was a dog" * 98
    length = len(AutoTokenizer.from_pretrained(SAMPLE)(prompt)["input_ids"])
    assert 472 < length < 512
    found = generate(Generate(str(SAMPLE), str(SAMPLE), prompt, 60), notes)
    assert len(found.original.pieces) <= 512 - length
    assert any("no more positions" in note for note in notes.notes)


def test_prompt_beyond_the_positions_is_refused() -> None:
    with pytest.raises(UserError, match="knows 512 positions"):
        generate(Generate(str(SAMPLE), str(SAMPLE), PROMPT * 400, 4), NullProgress())
