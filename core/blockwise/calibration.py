"""The text that a network's activations are learned from, as windows of token ids."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib.resources import files

import torch
from torch import Tensor

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.evaluate.inputs import inputs_of
from benchvise.core.evaluate.text import read_text
from benchvise.core.methods.calibration import Calibration
from benchvise.core.runtime.architecture import architecture_of
from benchvise.core.runtime.tokenizer import tokens_of
from benchvise.core.wording import few_samples, few_windows, short_windows

OTHER_TOKENS = 256
"""As many tokens as a sample of images or sound is taken to have when samples are put into batches."""

SHIPPED = "the shipped calibration text"


@dataclass(frozen=True)
class CalibrationText:
    """Token ids int64 [windows, tokens], or other inputs float32 [samples, …]; and what had to be departed from, as
    sentences."""

    ids: Tensor
    notes: tuple[str, ...] = ()

    @property
    def window_tokens(self) -> int:
        """Tokens of a window; for a sample of another kind, about as many as take its place."""
        return OTHER_TOKENS if self.ids.is_floating_point() else self.ids.shape[1]

    @property
    def digest(self) -> str:
        """sha256 hex over the ids and their shape."""
        return hashlib.sha256(str(tuple(self.ids.shape)).encode() + self.ids.numpy().tobytes()).hexdigest()


def calibration_text(checkpoint: Checkpoint, settings: Calibration, seed: int) -> CalibrationText:
    """The recipe's text in the checkpoint's own tokens, packed, cut into windows that are spread evenly over it.

    The seed chooses where the first window begins. Windows are no longer than the positions the model knows.
    Raises UserError for a text that is missing, no text, empty, or shorter than one window, and CheckpointError for a
    checkpoint without architecture or tokenizer, or with one whose ids the model does not know.
    """
    given = inputs_of(checkpoint, settings.text, settings.windows)
    if given is not None:
        short = () if len(given) == settings.windows else (few_samples(settings.text, len(given), settings.windows),)
        return CalibrationText(given, short)
    config = architecture_of(checkpoint).config.get_text_config()
    limit = getattr(config, "max_position_embeddings", None)
    length = min(settings.window_tokens, limit) if isinstance(limit, int) and limit > 0 else settings.window_tokens
    notes = []
    if length < settings.window_tokens:
        notes.append(short_windows(length, settings.window_tokens))
    where = settings.text or SHIPPED
    read = tokens_of(checkpoint, _text(settings))
    _check_vocabulary(read.ids, getattr(config, "vocab_size", None), checkpoint)
    inner = max(1, length - read.around)
    windows = read.framed(spread_windows(read.ids, settings.windows, inner, seed, where=where))
    if len(windows) < settings.windows:
        notes.append(few_windows(where, len(windows), settings.windows, length))
    return CalibrationText(windows, tuple(notes))


def spread_windows(ids: Tensor, windows: int, length: int, seed: int, *, where: str) -> Tensor:
    """int64 [windows or fewer, length]: windows that do not overlap, at even distances in `ids` [tokens].

    Raises UserError when there is not enough for one.
    """
    count = min(windows, len(ids) // length)
    if not count:
        raise UserError(
            f"The calibration text is too short: {len(ids)} tokens, where one window has {length}",
            where=where,
            remedy="Give a longer text, or shorter windows.",
        )
    step = len(ids) // count
    free = len(ids) - (count - 1) * step - length
    offset = int(torch.randint(free + 1, (), generator=torch.Generator().manual_seed(seed)))
    return torch.stack([ids[offset + i * step : offset + i * step + length] for i in range(count)])


def _text(settings: Calibration) -> str:
    if settings.text:
        return read_text(settings.text)
    return shipped_text()


def shipped_text() -> str:
    """The calibration text of recipes that name none."""
    return (files("benchvise.resources") / "sample" / "calibration.txt").read_text(encoding="utf-8")


def _check_vocabulary(ids: Tensor, vocabulary: object, checkpoint: Checkpoint) -> None:
    if isinstance(vocabulary, int) and len(ids) and int(ids.max()) >= vocabulary:
        raise CheckpointError(
            f"The tokenizer gives the token {int(ids.max())}, but the model knows only {vocabulary}",
            where=checkpoint.path,
            remedy="Put the tokenizer that the model was trained with beside the weights.",
        )
