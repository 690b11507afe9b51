"""Seeded orthogonal matrices that spread every channel over all others, applied without being written out.

Sources: QuaRot, arXiv 2404.00456, section 3 (randomised Hadamard); the cosine transform for the widths that have no
Hadamard matrix: its entries are at most √(2/width), so it spreads nearly as well.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

from benchvise.core.transforms.hadamard import odd_part, small_hadamard


class Rotation:
    """x → x·Q for vectors of `width` channels, Q orthogonal and the same for the same seed.

    keeps_mean: Q leaves the all-ones vector in place, so that subtracting the mean commutes with it:
    Q = B·D·Bᵀ with B's first column constant and D = diag(1, ±1 …). Otherwise Q = D·B.
    """

    def __init__(self, width: int, seed: int, *, keeps_mean: bool = False) -> None:
        self.width = width
        self.keeps_mean = keeps_mean
        signs = torch.randint(0, 2, (width,), generator=torch.Generator().manual_seed(seed)) * 2.0 - 1.0
        if keeps_mean:
            signs[0] = 1.0
        self._signs = signs
        self._part = odd_part(width)
        self._small = _cosines(width) if self._part is None else small_hadamard(self._part) / math.sqrt(self._part)

    def __call__(self, vectors: Tensor) -> Tensor:
        """float32 [..., n·width]: every run of `width` channels turned by Q."""
        turned = vectors.reshape(-1, self.width)
        signs = self._signs.to(vectors.device)
        if self.keeps_mean:
            turned = self._spread(self._spread(turned) * signs, back=True)
        else:
            turned = self._spread(turned * signs)
        return turned.reshape(vectors.shape)

    def _spread(self, vectors: Tensor, *, back: bool = False) -> Tensor:
        """vectors [n, width] · B, or · Bᵀ on the way back."""
        small = self._small.to(vectors.device)
        matrix = (small.T if back else small).double()
        inner = matrix.shape[0]
        turned = vectors.reshape(len(vectors), self.width // inner, inner)
        if inner > 1:
            turned = (turned.double() @ matrix).float()
        outer, size = self.width // inner, 1
        while size < outer:  # the symmetric Sylvester matrix over the other index, by doubling
            pairs = turned.reshape(len(vectors), outer // (2 * size), 2, size, inner)
            low, high = pairs[:, :, 0], pairs[:, :, 1]
            turned = torch.stack((low + high, low - high), 2).reshape(len(vectors), outer, inner)
            size *= 2
        return (turned / math.sqrt(outer)).reshape(len(vectors), self.width)


def _cosines(width: int) -> Tensor:
    """The orthonormal cosine transform (DCT-II) [width, width], its first column constant."""
    index = torch.arange(width, dtype=torch.float64)
    matrix = torch.cos(math.pi * (index[:, None] + 0.5) * index[None, :] / width) * math.sqrt(2 / width)
    matrix[:, 0] = math.sqrt(1 / width)
    return matrix
