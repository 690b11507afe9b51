"""The arithmetic of magnitude pruning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torch import Tensor

from benchvise.core.methods.sparse import Sparse
from benchvise.core.schemes.arithmetic import SchemeArithmetic, Shared
from benchvise.core.schemes.magnitude import kth_magnitude, passes
from benchvise.core.schemes.matrix import Matrix, SolvedRows


class SparseArithmetic(SchemeArithmetic[Sparse]):
    """Weights below a threshold become zero; of those at it the first in row order, as many as asked."""

    scheme = Sparse
    _threshold: float
    _ties: int | None

    def fit(self) -> None:
        if self.settings.criterion == "threshold":
            self._threshold, self._ties = self.settings.threshold, None
            return
        shared = self.shared or self.share(self.settings, [self.matrix])[0]
        self._threshold, self._ties = shared.threshold, shared.ties

    def project(self, start: int, block: Tensor) -> SolvedRows:
        # In float64, which holds every weight and every threshold a person may type exactly.
        magnitude = block.double().abs()
        if self._ties is None:
            zero = magnitude <= self._threshold
        else:
            zero = magnitude < self._threshold
            if self._ties:
                at = (magnitude == self._threshold).reshape(-1).nonzero()[: self._ties, 0]
                zero.view(-1)[at] = True
                self._ties -= len(at)
        pruned = block.masked_fill(zero, 0)
        return SolvedRows(start, block, {"weight": pruned}, pruned)

    @classmethod
    def decode(cls, settings: Sparse, stored: Mapping[str, Tensor], start: int, stop: int, columns: int) -> Tensor:  # noqa: ARG003
        return stored["weight"].reshape(stop - start, columns)

    @classmethod
    def share_passes(cls, matrices: Sequence[Matrix]) -> int:
        return passes(matrices) + 1

    @classmethod
    def share(cls, settings: Sparse, matrices: Sequence[Matrix]) -> list[Shared]:
        """Exactly round(fraction · n) of all n weights together become zero."""
        total = sum(matrix.rows * matrix.columns for matrix in matrices)
        k = round(settings.fraction * total)
        if k == 0:
            return [Shared(0.0, 0) for _ in matrices]
        threshold, below = kth_magnitude(matrices, k)
        left = k - below
        shares = []
        for matrix in matrices:
            here = sum(int((block.double().abs() == threshold).sum()) for _, block in matrix.blocks())
            shares.append(Shared(threshold, min(left, here)))
            left -= shares[-1].ties
        return shares
