"""Weights, inputs and their moments for solvers, and what an error costs at the output."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.solvers.solution import InputStatistics


def correlated_inputs(tokens: int, columns: int, *, seed: int = 0) -> Tensor:
    """float64 [tokens, columns] whose columns depend on each other and differ much in size."""
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(columns, columns, generator=generator, dtype=torch.float64) / columns**0.5
    sizes = torch.rand(columns, generator=generator, dtype=torch.float64).mul_(4).exp_()
    plain = torch.randn(tokens, columns, generator=generator, dtype=torch.float64)
    return (plain @ (torch.eye(columns, dtype=torch.float64) + mixing)) * sizes


def statistics_of(inputs: Tensor, original: Tensor | None = None) -> InputStatistics:
    drift = None if original is None else ((original - inputs).T @ inputs / len(inputs)).float()
    return InputStatistics((inputs.T @ inputs / len(inputs)).float(), len(inputs), drift)


def output_error(weight: Tensor, decoded: Tensor, hessian: Tensor) -> float:
    """tr((W − Ŵ) H (W − Ŵ)ᵀ)."""
    error = weight.double() - decoded.double()
    return float(((error @ hessian.double()) * error).sum())
