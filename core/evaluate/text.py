"""Text for judging: read, tokenised, and cut into windows spread evenly over it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import UserError
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.tokenizer import load_tokenizer

MIN_TOKENS = 32
_REMEDY = 'Give a UTF-8 .txt file, or a .jsonl file with a "text" in each line; without one the shipped text is used.'


@dataclass(frozen=True)
class Windows:
    """Token ids int64 [windows, tokens] to judge on, and what had to be departed from, as sentences."""

    ids: Tensor
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return self.ids.numel()


def read_text(path: str) -> str:
    """The text of a plain text file, or all "text" fields of a .jsonl file joined by empty lines.

    "" is the shipped evaluation text. Raises UserError when the file is missing, not text, or empty.
    """
    if not path:
        return (files("benchvise.resources") / "sample" / "evaluation.txt").read_text(encoding="utf-8")
    try:
        content = Path(path).read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"The text cannot be read: {error.strerror}", where=path, remedy=_REMEDY) from error
    except UnicodeDecodeError as error:
        raise UserError("The file is not text in UTF-8", where=f"{path}, byte {error.start}", remedy=_REMEDY) from error
    if "\0" in content:
        raise UserError("The file is not text: it holds zero bytes", where=path, remedy=_REMEDY)
    text = _texts_of_lines(content, path) if path.endswith(".jsonl") else content
    if not text.strip():
        raise UserError("The text is empty", where=path, remedy=_REMEDY)
    return text


def cut_windows(ids: Tensor, windows: int, window_tokens: int, *, where: str = "") -> Windows:
    """Windows of `window_tokens` tokens, evenly spread over int64 `ids` [tokens], at most `windows` of them.

    Raises UserError when the text is shorter than MIN_TOKENS and than a window.
    """
    length = min(window_tokens, len(ids))
    if length < min(MIN_TOKENS, window_tokens):
        raise UserError(
            f"The text is too short: {len(ids)} tokens, where at least {min(MIN_TOKENS, window_tokens)} are needed",
            where=where,
            remedy="Give a longer text, in words that the model's tokenizer knows.",
        )
    count = min(windows, len(ids) // length)
    step = len(ids) // count
    notes = []
    if length < window_tokens:
        notes.append(f"The text has only {length} tokens: one window of that length instead of {window_tokens}")
    elif count < windows:
        notes.append(f"The text fills only {count} of {windows} windows of {length} tokens")
    return Windows(torch.stack([ids[i * step : i * step + length] for i in range(count)]), tuple(notes))


def text_windows(checkpoint: Checkpoint, path: str, windows: int, window_tokens: int) -> Windows:
    """`path` in the checkpoint's own tokens; windows are no longer than the positions its model knows.

    Raises UserError for a bad text and CheckpointError for a checkpoint without tokenizer or architecture.
    """
    limit = architecture_of(checkpoint).max_positions
    length = min(window_tokens, limit) if limit else window_tokens
    ids = torch.tensor(load_tokenizer(checkpoint)(read_text(path), verbose=False)["input_ids"], dtype=torch.int64)
    cut = cut_windows(ids, max(windows, 1), max(length, 2), where=path or "the shipped text")
    if length < window_tokens:
        note = f"Windows of {length} tokens instead of {window_tokens}: the model knows no more positions"
        return Windows(cut.ids, (note, *cut.notes))
    return cut


def _texts_of_lines(content: str, path: str) -> str:
    texts: list[str] = []
    for number, line in enumerate(content.splitlines(), start=1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except json.JSONDecodeError as error:
            raise UserError(
                f"The line is not JSON: {error.msg}", where=f"{path}, line {number}", remedy=_REMEDY
            ) from error
        if not isinstance(record, dict) or not isinstance(record.get("text"), str):
            raise UserError('The line has no "text"', where=f"{path}, line {number}", remedy=_REMEDY)
        texts.append(record["text"])
    return "\n\n".join(texts)
