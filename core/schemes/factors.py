"""The two factors of a rank whose product is nearest to a weight, in itself or at the layer's outputs.

Outputs W X have the second moments W H Wᵀ, with H those of the inputs. With U the first eigenvectors of that, U Uᵀ W
gives the outputs that are nearest to those of W, of all matrices of that rank: no root of H is needed, nor its inverse.

Source: Eckart and Young 1936; at the outputs SVD-LLM, arXiv 2403.07378, by the outputs' covariance as in Swift-SVD,
arXiv 2604.01609; randomised, Halko, Martinsson and Tropp, arXiv 0909.4061, algorithm 4.4.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from benchvise.core.progress import NULL_PROGRESS, Progress

EXACT_SIZE = 1024
"""Of the shorter side: up to it all singular vectors are found, in float64."""

OVERSAMPLING = 32
"""Directions that a randomised search follows beside those asked for."""

_ITERATIONS = 2
"""Of the randomised search: how often it multiplies by the outputs' moments."""


@dataclass(frozen=True)
class FactorPair:
    """left float32 [rows, rank], of orthonormal columns until it is refitted; right float32 [rank, columns].

    target:  what their product stands for, float32 [rows, columns]; moments: of the inputs, float32 [columns, columns];
             None where every column counts the same.
    kept:    the share of the target's energy that the product has, at the outputs where moments are known.
    exact:   whether no other factors of that rank keep more.
    """

    left: Tensor
    right: Tensor
    target: Tensor
    moments: Tensor | None
    kept: float
    exact: bool

    def of(self, target: Tensor) -> FactorPair:
        """The nearest factors of the same rank of another target float32 [rows, columns]."""
        return nearest_factors(target, self.left.shape[1], NULL_PROGRESS, self.moments)

    def refitted(self, right: Tensor) -> FactorPair:
        """With another second factor float32 [rank, columns], and the first that goes best with it."""
        seen = right.double() if self.moments is None else right.double() @ self.moments.double()
        inner, outer = seen @ right.double().T, self.target.double() @ seen.T
        left = torch.linalg.lstsq(inner, outer.T, driver="gelsd").solution.T
        return replace(self, left=left.float(), right=right)


def nearest_factors(weight: Tensor, rank: int, progress: Progress, moments: Tensor | None = None) -> FactorPair:
    """Factors of `weight` [rows, columns], of any floating dtype.

    moments: of the inputs, float32 [columns, columns]. Above `EXACT_SIZE` the search is randomised, where the rank is
    at most half of the shorter side: from the same start each time, so that results do not depend on a seed. Raises
    Cancelled.
    """
    progress.check_cancelled()
    short = min(weight.shape)
    exact = short <= EXACT_SIZE or 2 * (rank + OVERSAMPLING) > short
    target = weight.float()
    if exact:
        left, kept = _exact(weight.double(), rank, None if moments is None else moments.double())
    else:
        left, kept = _randomised(target, rank, moments, progress)
    return FactorPair(left.float(), (left.T @ weight.to(left.dtype)).float(), target, moments, kept, exact)


def singular_values(weight: Tensor, moments: Tensor | None = None, gradients: Tensor | None = None) -> Tensor:
    """float64 [min(rows, columns)], descending: of a weight [rows, columns], or of its outputs.

    moments:   of the inputs, float32 [columns, columns]. gradients: second moments of the outputs' gradients, float32
               [rows, rows] or their diagonal [rows].
    """
    values = weight.double()
    across = None if moments is None else _root(moments.double())
    if gradients is not None:
        down = gradients.double()
        values = down.clamp(min=0).sqrt()[:, None] * values if down.dim() == 1 else _root(down).T @ values
    if across is not None:
        values = values @ across
    gram = values.T @ values if len(values) > values.shape[1] else values @ values.T
    lengths: Tensor = torch.linalg.eigvalsh(gram)
    return lengths.clamp(min=0).sqrt().flip(0)


def added_kl(values: Tensor) -> Tensor:
    """KL in nats per token, to second order, of a product of rank 0, 1, …, n: float64 [n + 1].

    values: float64 [n], singular values at the outputs with their gradients, as `singular_values` gives them.
    """
    tails = values.square().flip(0).cumsum(0).flip(0)
    return 0.5 * torch.cat([tails, tails.new_zeros(1)])


def _outputs(values: Tensor, moments: Tensor | None) -> Tensor:
    """The second moments of outputs, [rows, rows] in the dtype of values [rows, columns]."""
    return (values if moments is None else values @ moments.to(values.dtype)) @ values.T


def _root(moments: Tensor) -> Tensor:
    """R with R Rᵀ = moments, float64 [columns, columns], which need not have full rank."""
    lengths, turned = torch.linalg.eigh(moments)
    root: Tensor = turned * lengths.clamp(min=0).sqrt()
    return root


def _exact(values: Tensor, rank: int, moments: Tensor | None) -> tuple[Tensor, float]:
    rows, columns = values.shape
    if rows <= columns:
        lengths, turned = torch.linalg.eigh(_outputs(values, moments))
        return turned[:, -rank:].flip(1), _share(lengths, rank)
    tall = values if moments is None else values @ _root(moments)
    lengths, turned = torch.linalg.eigh(tall.T @ tall)
    left, _ = torch.linalg.qr(tall @ turned[:, -rank:].flip(1))
    return left, _share(lengths, rank)


def _share(lengths: Tensor, rank: int) -> float:
    lengths = lengths.clamp(min=0)
    total = float(lengths.sum())
    return float(lengths[-rank:].sum()) / total if total > 0 else 1.0


def _randomised(values: Tensor, rank: int, moments: Tensor | None, progress: Progress) -> tuple[Tensor, float]:
    """Subspace iteration on the outputs' moments, from random directions."""
    generator = torch.Generator().manual_seed(0)
    found = torch.randn(len(values), rank + OVERSAMPLING, generator=generator)
    for _ in range(_ITERATIONS):
        progress.check_cancelled()
        inner = values.T @ found
        found, _ = torch.linalg.qr(values @ (inner if moments is None else moments @ inner))
    progress.check_cancelled()
    seen = found.T @ values
    lengths, turned = torch.linalg.eigh(_outputs(seen.double(), moments))
    weighed = values if moments is None else values @ moments
    total = float((weighed * values).sum(dtype=torch.float64))
    kept = float(lengths[-rank:].clamp(min=0).sum())
    return found @ turned[:, -rank:].flip(1).float(), kept / total if total > 0 else 1.0
