"""Observers: the one fixed scale of a layer's inputs, from batches of them as they come by.

What an observer keeps does not grow with the text, and does not depend on how the tokens were cut into batches. Maxima
are exact. The others count magnitudes in bins of 11 bits of mantissa (1/2048 of a value apart at most); what each makes
of that is said with it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import numpy as np
import torch
from torch import Tensor

from benchvise.core.activations.magnitudes import Magnitudes
from benchvise.core.activations.quantise import codes_of, scale_of_range
from benchvise.core.activations.relative_entropy import least_divergence
from benchvise.core.methods.activations import Activations

AVERAGED_TOKENS = 256
"""Tokens whose extremes enter the moving average together."""
SHRINK_STEPS = 128
STEPS_A_HALVING = 16


class Observer(ABC):
    """Fed with `see`, asked once with `scale`. `tokens` counts the inputs that were seen."""

    def __init__(self, settings: Activations) -> None:
        self.settings = settings
        self.tokens = 0

    def see(self, x: Tensor) -> None:
        """Take note of inputs [tokens, columns] of any floating dtype. Raises ValueError for NaN and infinity."""
        if not x.numel():
            return
        low, high = torch.aminmax(x.detach().float(), dim=1)
        greatest = torch.maximum(high, -low)
        if not bool(greatest.isfinite().all()):
            raise ValueError("inputs are not finite")
        self._see(x.detach(), greatest.cpu())
        self.tokens += len(x)

    def scale(self) -> Tensor:
        """The scale, float32 [1] on the CPU. Raises ValueError when no input was seen."""
        if not self.tokens:
            raise ValueError("no inputs were seen")
        return scale_of_range(self.settings, torch.tensor([self._range()], dtype=torch.float32))

    @abstractmethod
    def _see(self, x: Tensor, greatest: Tensor) -> None:
        """greatest: the largest magnitude of each token, float32 [tokens]."""

    @abstractmethod
    def _range(self) -> float:
        """The magnitude that is to be the end of the range."""


class _Extremes(Observer):
    """The largest magnitude of all: nothing is clipped. Exact."""

    def __init__(self, settings: Activations) -> None:
        super().__init__(settings)
        self._greatest = 0.0

    def _see(self, x: Tensor, greatest: Tensor) -> None:  # noqa: ARG002 - the tokens' extremes are enough
        self._greatest = max(self._greatest, float(greatest.max()))

    def _range(self) -> float:
        return self._greatest


class _MovingAverage(Observer):
    """a ← m·a + (1 − m)·max|x| over each next AVERAGED_TOKENS tokens; the first of them starts the average. Exact."""

    def __init__(self, settings: Activations) -> None:
        super().__init__(settings)
        self._average: float | None = None
        self._open = 0.0

    def _see(self, x: Tensor, greatest: Tensor) -> None:  # noqa: ARG002 - the tokens' extremes are enough
        start = 0
        while start < len(greatest):
            room = AVERAGED_TOKENS - (self.tokens + start) % AVERAGED_TOKENS
            part = greatest[start : start + room]
            self._open = max(self._open, float(part.max()))
            start += len(part)
            if len(part) == room:
                self._average, self._open = self._with(self._open), 0.0

    def _range(self) -> float:
        if self._average is not None and self.tokens % AVERAGED_TOKENS == 0:
            return self._average
        return self._with(self._open)

    def _with(self, greatest: float) -> float:
        if self._average is None:
            return greatest
        return self.settings.momentum * self._average + (1 - self.settings.momentum) * greatest


class _Counting(Observer):
    """What looks at the distribution of all magnitudes."""

    def __init__(self, settings: Activations) -> None:
        super().__init__(settings)
        self._magnitudes = Magnitudes()

    def _see(self, x: Tensor, greatest: Tensor) -> None:
        self._magnitudes.add(x, float(greatest.max()))


class _Percentile(_Counting):
    """The least magnitude that at least so many of all do not exceed; at most 1/2048 above it, 100 % exact."""

    def _range(self) -> float:
        return self._magnitudes.quantile(self.settings.percentile / 100)


class _LeastSquares(_Counting):
    """The range of least squared error among 128 shrunken ones, down to 1/256 of the largest magnitude.

    Values stand for their bins, and negative ones are taken for positive ones.
    """

    def _range(self) -> float:
        counts, values = self._magnitudes.filled()
        x = torch.from_numpy(values.astype(np.float32))
        ends = [self._magnitudes.greatest * 2 ** (-step / STEPS_A_HALVING) for step in range(SHRINK_STEPS + 1)]
        scales = scale_of_range(self.settings, torch.tensor(ends)[:, None])
        errors = [
            float(np.sum(counts * ((codes_of(self.settings, x, scale) * scale).numpy() - values) ** 2))
            for scale in scales
        ]
        return ends[int(np.argmin(errors))]


class _Entropy(_Counting):
    """The range whose quantised histogram has the least KL from the clipped one: TensorRT's calibration.

    The histogram of 2048 even bins comes from the finer ones, whose counts are spread evenly within each.
    """

    def _range(self) -> float:
        if self._magnitudes.greatest == 0:
            return 0.0
        return least_divergence(self._magnitudes.even_histogram(), self.settings) * self._magnitudes.greatest


_OBSERVERS: dict[str, type[Observer]] = {
    "minmax": _Extremes,
    "moving_average": _MovingAverage,
    "percentile": _Percentile,
    "mse": _LeastSquares,
    "entropy": _Entropy,
}


def observer_of(settings: Activations) -> Observer:
    """A fresh observer for static settings. Raises ValueError for dynamic ones, which observe nothing."""
    if settings.mode != "static":
        raise ValueError(f"{settings.tag} finds its scales while the layer runs")
    return _OBSERVERS[settings.observer](settings)
