"""What calibration says about a layer, and what a solver makes of a whole matrix."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class InputStatistics:
    """Second moments of a layer's inputs over all calibration tokens that reached it.

    hessian: XᵀX / tokens, float32 [columns, columns], X as the layer gets it (after the compressed prefix, when the
             recipe says so).
    drift:   (X₀ − X)ᵀX / tokens, float32 [columns, columns], with X₀ the inputs in the original network; None when X is
             X₀.
    tokens:  how many; 0 for an expert that no token reached (then the moments are zero).
    """

    hessian: Tensor
    tokens: int
    drift: Tensor | None = None

    @property
    def importance(self) -> Tensor:
        """Mean square of each input, float32 [columns]."""
        return self.hessian.diagonal()


@dataclass(frozen=True)
class Solution:
    """A solved matrix: the tensors of the scheme's storage, and what they stand for, in the weight's dtype.

    notes: what the solver did, for the log: damping raised, dead inputs, iterations, as short sentences.
    """

    stored: dict[str, Tensor]
    decoded: Tensor
    notes: tuple[str, ...] = ()
