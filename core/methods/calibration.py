"""The text that compression learns a network's activations from, and how it is cut and fed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from benchvise.core.settings import setting
from benchvise.core.text import plural


@dataclass(frozen=True)
class Calibration:
    """Calibration text, tokenised by the checkpoint's own tokenizer and packed into windows drawn by the seed."""

    text: str = setting(
        "",
        title="Text",
        help='A UTF-8 .txt file, or .jsonl or .json of records with a "text" or "messages". Empty: the shipped text.',
        files=(".txt", ".jsonl", ".json"),
        empty="shipped text",
    )
    windows: int = setting(
        128, title="Samples", help="How many pieces of text are used.", minimum=1, maximum=65536, unit="samples",
        suggestions=(32, 128, 512),
    )  # fmt: skip
    window_tokens: int = setting(
        256, title="Sequence length", help="Tokens in a sample; no longer than the model's positions.", minimum=2,
        maximum=1 << 20, unit="tokens", suggestions=(256, 512, 2048),
    )  # fmt: skip
    inputs: Literal["compressed", "original"] = setting(
        "compressed",
        title="Activations from",
        help="What each layer is shown: what comes out of the layers compressed before it, whose errors it can then "
        "make good, or what the original network gives.",
        choices={"compressed": "Compressed layers before it", "original": "Original network"},
    )

    @property
    def in_words(self) -> str:
        """What is read, for people: "128 samples of 256 tokens from the shipped text"."""
        return (
            f"{plural(self.windows, 'sample')} of {self.window_tokens:,} tokens from {self.text or 'the shipped text'}"
        )
