"""Text for judging: read, tokenised, and cut into windows spread evenly over it."""

from __future__ import annotations

from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import UserError
from benchvise.core.evaluate.inputs import inputs_of
from benchvise.core.evaluate.records import RecordError, texts_of_array, texts_of_lines
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.tokenizer import tokens_of

MIN_TOKENS = 32
_REMEDY = (
    'Give a UTF-8 .txt file, or a .jsonl or .json file of records with a "text", "content", "messages" or '
    '"instruction"; '
    "without one the shipped text is used."
)


@dataclass(frozen=True)
class Windows:
    """Token ids int64 [windows, tokens], or other inputs [samples, …]; and what had to be departed from."""

    ids: Tensor
    notes: tuple[str, ...] = ()

    @property
    def tokens(self) -> int:
        return self.ids.numel()


def read_text(path: str) -> str:
    """The text of a plain text file, or the texts of a .jsonl or .json file's records joined by empty lines.

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
    text = _content_text(content, path)
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

    For a network that reads something else, and for arrays, the samples of `inputs_of`. Raises UserError for a bad text
    and CheckpointError for a checkpoint without tokenizer or architecture.
    """
    given = inputs_of(checkpoint, path, max(windows, 1))
    if given is not None:
        return Windows(given)
    limit = architecture_of(checkpoint).max_positions
    length = min(window_tokens, limit) if limit else window_tokens
    read = tokens_of(checkpoint, read_text(path))
    cut = cut_windows(read.ids, max(windows, 1), max(length - read.around, 2), where=path or "the shipped text")
    cut = Windows(read.framed(cut.ids), cut.notes)
    if length < window_tokens:
        note = f"Windows of {length} tokens instead of {window_tokens}: the model knows no more positions"
        return Windows(cut.ids, (note, *cut.notes))
    return cut


def _content_text(content: str, path: str) -> str:
    """The text in a file, by what its name says it is."""
    suffix = Path(path).suffix.lower()
    try:
        if suffix == ".jsonl":
            return texts_of_lines(content)
        return texts_of_array(content) if suffix == ".json" else content
    except RecordError as error:
        raise UserError(error.what, where=f"{path}, {error.place}", remedy=_REMEDY) from error
