"""Steps of Adam whose length the caller chooses."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class Adam:
    """Directions of length about one for each value, from its gradients.

    Source: arXiv 1412.6980, algorithm 1.
    """

    def __init__(self, values: Sequence[Tensor], first: float = 0.9, second: float = 0.999) -> None:
        self._first, self._second = first, second
        self.means = [torch.zeros_like(value) for value in values]
        self.squares = [torch.zeros_like(value) for value in values]
        self._steps = 0

    def restore(self, steps: int, means: Sequence[Tensor], squares: Sequence[Tensor]) -> None:
        """Resume where another one was after `steps` calls: its two moments, float tensors shaped as the values."""
        self._steps = steps
        with torch.no_grad():
            for own, other in zip((*self.means, *self.squares), (*means, *squares), strict=True):
                own.copy_(other)

    def __call__(self, gradients: Sequence[Tensor]) -> list[Tensor]:
        """Directions for the next step, each shaped as its value, from gradients of the same shapes."""
        self._steps += 1
        found = []
        for mean, square, gradient in zip(self.means, self.squares, gradients, strict=True):
            mean.lerp_(gradient, 1 - self._first)
            square.mul_(self._second).addcmul_(gradient, gradient, value=1 - self._second)
            spread = (square / (1 - self._second**self._steps)).sqrt_().add_(1e-12)
            found.append(mean / (1 - self._first**self._steps) / spread)
        return found
