"""The k weights of least magnitude, found exactly by counting 16 bits of their patterns at a time."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from benchvise.core.schemes.matrix import Matrix

_DIGIT = 16
_DIGIT_VALUES = 1 << _DIGIT


def kth_magnitude(matrices: Sequence[Matrix], k: int) -> tuple[float, int]:
    """The k-th smallest magnitude over all matrices together (k from 1), and how many are smaller than it.

    Exact: magnitudes are ordered as their bit patterns are; every digit of 16 bits takes one pass over the data.
    """
    width = _width(matrices)
    prefix, below = 0, 0
    for shift in range(width - _DIGIT, -1, -_DIGIT):
        counts = np.zeros(_DIGIT_VALUES, np.int64)
        for matrix in matrices:
            for _, block in matrix.blocks():
                counts += _count(magnitude_bits(block, width), shift, prefix)
        cumulative = np.cumsum(counts)
        digit = int(np.searchsorted(cumulative, k - below))
        below += int(cumulative[digit - 1]) if digit else 0
        prefix = (prefix << _DIGIT) | digit
    return _value(prefix, width), below


def passes(matrices: Sequence[Matrix]) -> int:
    """How often `kth_magnitude` reads every matrix."""
    return _width(matrices) // _DIGIT


def magnitude_bits(block: Tensor, width: int) -> NDArray[np.unsignedinteger]:
    """|w| as integers in the same order, uint32 or uint64 [weights]; 16-bit floats widen exactly to float32."""
    if width == 64:
        return block.double().abs().reshape(-1).cpu().numpy().view(np.uint64)
    return block.float().abs().reshape(-1).cpu().numpy().view(np.uint32)


def _width(matrices: Sequence[Matrix]) -> int:
    return 64 if any(matrix.dtype == torch.float64 for matrix in matrices) else 32


def _count(bits: NDArray[np.unsignedinteger], shift: int, prefix: int) -> NDArray[np.int64]:
    top = bits >> np.asarray(shift, bits.dtype)
    chosen = top[(top >> np.asarray(_DIGIT, bits.dtype)) == prefix]
    digits = (chosen & np.asarray(_DIGIT_VALUES - 1, bits.dtype)).astype(np.int64)
    return np.bincount(digits, minlength=_DIGIT_VALUES).astype(np.int64)


def _value(bits: int, width: int) -> float:
    if width == 64:
        return float(np.array([bits], np.uint64).view(np.float64)[0])
    return float(np.array([bits], np.uint32).view(np.float32)[0])
