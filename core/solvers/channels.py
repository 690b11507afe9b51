"""Which inputs of a linear layer stay when some have to go, and the weights that make good what the others carried.

An input is removed where that adds least to the squared error of the outputs, the others' weights changed as least
squares would have it: ‖w‖² ÷ [H⁻¹]ᵢᵢ, H the second moments of the inputs, ‖·‖ in the norm of the outputs' gradients.
Source: Hassibi and Stork, Second order derivatives for network pruning: Optimal Brain Surgeon, 1992; for whole columns,
Frantar and Alistarh, Optimal Brain Compression, arXiv 2208.11580.
"""

from __future__ import annotations

import torch
from torch import Tensor

DAMPING = 1e-3
"""Of the mean second moment, added to every input's."""

ROUNDS = 128
"""In which inputs are removed, at most as many in each as keep to that; after each, all scores are computed anew."""


def kept_inputs(weight: Tensor, moment: Tensor, count: int, gradients: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Which `count` inputs stay, int64 [count] ascending, and the weight on them, float64 [outputs, count].

    weight: float [outputs, inputs]. moment: XᵀX of the inputs, float [inputs, inputs], finite.
    gradients: second moments of what the network's loss heeds the outputs with, [outputs, outputs] or their diagonal
    [outputs]; outputs count by them. Without any, all count the same.
    """
    damped = _damped(moment)
    kept = _chosen(_heeded(weight.double(), gradients), damped, count)
    return kept, refitted(weight, moment, kept)


def refitted(weight: Tensor, moment: Tensor, kept: Tensor) -> Tensor:
    """The weight on the kept inputs whose outputs are nearest to those of all inputs: float64 [outputs, kept].

    weight: float [outputs, inputs]. moment: XᵀX of the inputs, float [inputs, inputs]. kept: int64 [kept].
    """
    damped = _damped(moment)
    factor = torch.linalg.cholesky(damped[kept][:, kept])
    return torch.cholesky_solve(damped[kept] @ weight.double().T, factor).T


def _heeded(weight: Tensor, gradients: Tensor | None) -> Tensor:
    """The weight in directions of its outputs, each as long as the loss heeds it."""
    if gradients is None:
        return weight
    if gradients.dim() == 1:
        return weight * gradients.double().clamp_min(0).sqrt()[:, None]
    values, directions = torch.linalg.eigh(gradients.double())
    heeded: Tensor = values.clamp_min(0).sqrt()[:, None] * (directions.T @ weight)
    return heeded


def _damped(moment: Tensor) -> Tensor:
    damped = moment.double().clone()
    level = float(damped.diagonal().mean())
    damped.diagonal().add_(DAMPING * level if level > 0 else 1.0)
    return damped


def _chosen(weight: Tensor, damped: Tensor, count: int) -> Tensor:
    places = torch.arange(len(damped), device=damped.device)
    inverse = torch.cholesky_inverse(torch.linalg.cholesky(damped))
    together = -(-len(places) // ROUNDS)
    while len(places) > count:
        score = weight.square().sum(0) / inverse.diagonal()
        number = min(together, len(places) - count)
        going = torch.zeros(len(places), dtype=torch.bool, device=places.device)
        going[score.argsort(stable=True)[:number]] = True
        gone, left = going.nonzero()[:, 0], (~going).nonzero()[:, 0]
        given = torch.linalg.solve(inverse[gone][:, gone], inverse[gone][:, left])
        weight = weight[:, left] - weight[:, gone] @ given
        inverse = inverse[left][:, left] - inverse[left][:, gone] @ given
        places = places[left]
    return places
