"""What the original gives on the samples: the target of every tuning step."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from benchvise.core.evaluate.divergence import log_probabilities
from benchvise.core.evaluate.forward import logits_of, vocabulary_of

CACHE_BYTES = 1 << 30


class ReferenceOutputs:
    """The original's log-probabilities, kept once computed while those of all samples fit the cache.

    They depend in their last digits on the batch that a sample was computed in. A job that is resumed says which
    batches the earlier process asked for (`pass_over`), and gets the same values, bit for bit.
    """

    def __init__(self, original: nn.Module, ids: Tensor) -> None:
        """ids: int64 [windows, tokens]."""
        self._original = original
        self._ids = ids
        self.vocabulary = vocabulary_of(original)
        self._kept: dict[int, Tensor] | None = {} if ids.numel() * self.vocabulary * 4 <= CACHE_BYTES else None
        self._passed: dict[int, tuple[int, ...]] = {}

    def of_few(self, windows: int) -> ReferenceOutputs:
        """The same original and samples, of which so many are asked for and kept as far as those fit the cache."""
        few = ReferenceOutputs(self._original, self._ids)
        few._kept = {} if windows * self._ids.shape[1] * self.vocabulary * 4 <= CACHE_BYTES else None
        return few

    def log_probabilities(self, windows: list[int]) -> Tensor:
        """float32 [windows, tokens, vocabulary] of the samples of those numbers.

        Raises Diverged when the outputs are no numbers.
        """
        kept = self._kept
        if kept is None:
            return self._computed(windows)
        if not all(window in kept or window in self._passed for window in windows):
            found = self._computed(windows)
            for window, values in zip(windows, found, strict=True):
                kept[window] = values
                self._passed.pop(window, None)
            return found
        for window in windows:
            if window not in kept:
                self._compute_again(self._passed[window])
        return torch.stack([kept[window] for window in windows])

    def hidden_states(self, windows: list[int]) -> list[Tensor]:
        """float32 [windows, tokens, width] behind each block, of the samples of those numbers; none are kept."""
        device = next(self._original.parameters()).device
        with torch.no_grad():
            found = self._original(self._ids[windows].to(device), use_cache=False, output_hidden_states=True)
        return [states.float() for states in found.hidden_states[1:]]

    def pass_over(self, windows: list[int]) -> None:
        """An earlier process asked for these: what it would have kept of them is computed when it is needed."""
        if self._kept is not None and not all(window in self._passed for window in windows):
            self._passed.update(dict.fromkeys(windows, tuple(windows)))

    def _compute_again(self, batch: tuple[int, ...]) -> None:
        assert self._kept is not None
        for window, values in zip(batch, self._computed(list(batch)), strict=True):
            if self._passed.get(window) == batch:
                self._kept[window] = values
                del self._passed[window]

    def _computed(self, windows: list[int]) -> Tensor:
        # Cloned outside of inference mode, so that gradients may be taken of what is computed with them.
        return log_probabilities(logits_of(self._original, self._ids[windows])).clone()
