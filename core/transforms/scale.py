"""Activation-aware scaling: s = mean|X|^α, α by search."""

from __future__ import annotations

from collections.abc import Iterator

from torch import Tensor

from benchvise.core.methods.scale import Scale
from benchvise.core.transforms.channel_scaling import ChannelScaling, Proposal, Readers

_LEAST = 1e-4


class ScaleBlock(ChannelScaling[Scale]):
    """Powers from 0 to 1, judged by the rounding error of what the readers give on sampled tokens.

    The paper judges by the whole block's output; the readers' own outputs need no forward pass for each power, so that
    more powers can be tried. Source: AWQ, arXiv 2306.00978, equations 4 and 5; with the weights' mean as in its code.
    """

    def proposals(self, readers: Readers) -> Iterator[Proposal]:
        steps = self.settings.steps
        inputs, weights = readers.inputs_mean.clamp_min(_LEAST), readers.weights_mean.clamp_min(_LEAST)
        for step in range(1, steps + 1):
            alpha = step / steps
            yield Proposal(f"α {alpha:g}", _centred(inputs**alpha))
            if self.settings.weights:
                yield Proposal(f"α {alpha:g}, weights too", _centred(inputs**alpha / weights ** (1 - alpha)))


def _centred(factors: Tensor) -> Tensor:
    """The factors divided so that the least and the greatest lie equally far from 1."""
    factors = factors.clamp_min(_LEAST)
    return factors / (factors.max() * factors.min()).sqrt()
