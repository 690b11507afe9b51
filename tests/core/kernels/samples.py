"""Weights at the edges of what a dtype holds, and everyday ones."""

from __future__ import annotations

import torch
from torch import Tensor

DTYPES = (torch.float16, torch.bfloat16, torch.float32)


def everyday(rows: int, cols: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    """Normal numbers with an outlier, an all-zero row and a row of one sign."""
    weight = torch.randn(rows, cols, generator=torch.Generator().manual_seed(seed))
    weight[0, 0] *= 20
    weight[rows // 2] = 0
    weight[-1].abs_()
    return weight.to(dtype)


def ties(cols: int, bits: int, dtype: torch.dtype) -> Tensor:
    """Multiples of a half step on a grid whose step is a power of two: every other weight is a tie. [2, cols]."""
    half = 2 ** (bits - 1)
    steps = torch.arange(cols).remainder(4 * half) / 2 - half
    steps[0] = -(2**bits - 1) / 2  # makes the symmetric step exactly one
    return torch.stack([steps, -steps]).to(dtype)


def extremes(cols: int, dtype: torch.dtype) -> Tensor:
    """Rows of zeros, constants, the smallest and the largest numbers of `dtype`. [8, cols]."""
    limits = torch.finfo(dtype)
    smallest = torch.tensor(limits.smallest_normal, dtype=dtype) / 4
    rows = [
        torch.zeros(cols),
        torch.full((cols,), -3.0),
        torch.full((cols,), 0.7),
        torch.full((cols,), float(smallest)),
        torch.linspace(-1, 1, cols) * limits.tiny * 5,
        torch.full((cols,), limits.max),
        torch.linspace(-1, 1, cols).double().mul(limits.max).float(),
        torch.linspace(0.5, 1, cols) * limits.max,
    ]
    return torch.stack(rows).to(dtype)
