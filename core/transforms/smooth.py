"""Smoothing: s = max|X|^α / max|W|^(1 − α) for each channel."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.methods.smooth import Smooth
from benchvise.core.transforms.channel_scaling import ChannelScaling, Proposal, Readers

_LEAST = 1e-5


class SmoothBlock(ChannelScaling[Smooth]):
    """One proposal for each source.

    Source: SmoothQuant, arXiv 2211.10438, equation 4.
    """

    def proposals(self, readers: Readers) -> Iterator[Proposal]:
        alpha = self.settings.alpha
        inputs = readers.inputs_greatest.clamp_min(_LEAST)
        weights = readers.weights_greatest.clamp_min(_LEAST)
        yield Proposal(f"α {alpha:g}", (inputs**alpha / weights ** (1 - alpha)).clamp_min(_LEAST))
