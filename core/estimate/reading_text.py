"""The calibration text before a job: what reading it takes, and how many windows it gives."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import Any

from benchvise.core.blockwise.calibration import shipped_text
from benchvise.core.estimate.block_kinds import digest
from benchvise.core.estimate.rates import KnownRates, TextRates
from benchvise.core.estimate.workload import Calibrating
from benchvise.core.evaluate.text import read_text
from benchvise.core.memory import release_freed, rss_bytes
from benchvise.core.recipe.plan import Plan
from benchvise.core.runtime.tokenizer import load_tokenizer

TRIED_CHARACTERS = 1 << 21
"""Of a long text that are cut into tokens, which takes a second or two; the others are taken to be like them."""

_READ: set[str] = set()
"""Texts that this process has read."""


class ReadingText:
    """The text of a plan, and rates of its tokenizer. model: digest of the network; config: its transformers config."""

    def __init__(self, plan: Plan, known: KnownRates, model: str, config: Any) -> None:
        self._plan = plan
        self._known = known
        self._model = model
        self._config = config.get_text_config()

    @cached_property
    def calibrating(self) -> Calibrating:
        """The windows that the text gives, and how wide a hidden state is; no windows where nothing is calibrated."""
        settings = self._plan.calibration
        width = int(getattr(self._config, "hidden_size", 0))
        if settings is None:
            return Calibrating(0, self._plan.recipe.calibration.window_tokens, width)
        limit = getattr(self._config, "max_position_embeddings", None)
        tokens = min(settings.window_tokens, limit) if isinstance(limit, int) and limit > 0 else settings.window_tokens
        there = int(self._rates.tokens * len(self._text)) // tokens
        return Calibrating(max(1, min(settings.windows, there)), tokens, width)

    def of_samples(self, samples: int | None) -> Calibrating:
        """The same text cut into so many windows, as far as it reaches; None for those of the recipe's calibration."""
        found = self.calibrating
        if samples is None or self._plan.calibration is None:
            return found
        there = int(self._rates.tokens * len(self._text)) // found.tokens
        return replace(found, windows=max(1, min(samples, there)))

    @property
    def seconds(self) -> float:
        """Of reading it; 0 where nothing is calibrated."""
        return 0.0 if self._plan.calibration is None else self._rates.begin + self._rates.character * len(self._text)

    @property
    def left(self) -> int:
        """Bytes that this process will hold more once it has read the text; 0 when it has read it before."""
        if self._plan.calibration is None:
            return 0
        rates = self._rates
        return 0 if self._key in _READ else rates.left

    @cached_property
    def _text(self) -> str:
        settings = self._plan.recipe.calibration
        return read_text(settings.text) if settings.text else shipped_text()

    @cached_property
    def _key(self) -> str:
        return f"{self._model} {digest(self._text[:TRIED_CHARACTERS])}"

    @cached_property
    def _rates(self) -> TextRates:
        return self._known.get(TextRates, self._key, self._try)

    def _try(self) -> TextRates:
        text = self._text[:TRIED_CHARACTERS]
        release_freed()
        before = rss_bytes()
        started = time.perf_counter()
        tokenizer = load_tokenizer(self._plan.checkpoint)
        begin = time.perf_counter() - started
        started = time.perf_counter()
        tokens = len(tokenizer(text, verbose=False)["input_ids"])
        seconds = time.perf_counter() - started
        release_freed()
        _READ.add(self._key)
        return TextRates(begin, seconds / len(text), tokens / len(text), max(0, rss_bytes() - before))
