"""The tokenizer of a checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from transformers import AutoTokenizer

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError
from benchvise.core.runtime.architecture import architecture_of, model_folder


def load_tokenizer(checkpoint: Checkpoint) -> Any:
    """The checkpoint's own tokenizer, from its folder or from within a GGUF file.

    Nothing is downloaded, and no code of the checkpoint is run.

    Raises CheckpointError when there is none.
    """
    folder = model_folder(checkpoint)
    within = {"gguf_file": Path(checkpoint.layers[0].tensor.file).name} if _lies_in_weights(checkpoint) else {}
    try:
        return AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False, **within)
    except Exception as error:
        raise CheckpointError(
            f"The checkpoint's tokenizer cannot be loaded: {(str(error).strip() or type(error).__name__)[:200]}",
            where=str(folder),
            remedy="Put tokenizer.json and tokenizer_config.json beside the weights.",
        ) from error


_BEGINNING = 200


@dataclass(frozen=True)
class Tokens:
    """Token ids int64 [tokens] of a text, and those that each window of it is to stand between."""

    ids: Tensor
    before: tuple[int, ...] = ()
    after: tuple[int, ...] = ()

    @property
    def around(self) -> int:
        """How many tokens each window gets around it."""
        return len(self.before) + len(self.after)

    def framed(self, windows: Tensor) -> Tensor:
        """int64 windows [windows, tokens] with what stands around each."""
        if not self.around:
            return windows
        ends = [torch.tensor(part, dtype=windows.dtype).expand(len(windows), -1) for part in (self.before, self.after)]
        return torch.cat((ends[0], windows, ends[1]), 1)


def tokens_of(checkpoint: Checkpoint, text: str) -> Tokens:
    """The text in the checkpoint's own tokens.

    A network that predicts next tokens reads one long text; any other reads pieces between the tokens that its
    tokenizer puts around a text, such as BERT's [CLS] and [SEP]. Raises CheckpointError when there is no tokenizer.
    """
    tokenizer = load_tokenizer(checkpoint)
    if architecture_of(checkpoint).predicts_tokens:
        return Tokens(torch.tensor(tokenizer(text, verbose=False)["input_ids"], dtype=torch.int64))
    ids = tokenizer(text, verbose=False, add_special_tokens=False)["input_ids"]
    return Tokens(torch.tensor(ids, dtype=torch.int64), *_around(tokenizer, text[:_BEGINNING]))


def _around(tokenizer: Any, text: str) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """The tokens that the tokenizer puts before and behind a text."""
    bare, whole = (tokenizer(text, add_special_tokens=special)["input_ids"] for special in (False, True))
    for at in range(len(whole) - len(bare) + 1):
        if whole[at : at + len(bare)] == bare:
            return tuple(whole[:at]), tuple(whole[at + len(bare) :])
    return (), ()


def _lies_in_weights(checkpoint: Checkpoint) -> bool:
    """Whether the file of the weights is the only place that has the tokenizer."""
    beside = any(Path(companion).name.startswith("tokenizer") for companion in checkpoint.companions)
    return checkpoint.kind == "gguf" and bool(checkpoint.layers) and not beside
