"""Where to clip a histogram so that its quantised form tells most of it: entropy calibration.

Source: Migacz, "8-bit inference with TensorRT", GTC 2017. For INT8 the levels are its 128 even ones; for FP8 they are
the values of E4M3.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from benchvise.core.activations.quantise import codes_of, scale_of_range
from benchvise.core.methods.activations import Activations

LEVELS = 128


def least_divergence(histogram: NDArray[np.float64], settings: Activations) -> float:
    """The fraction of the histogram's range at which to clip, of counts in even bins from zero on.

    histogram: float64 [bins].
    For each number of bins kept, from 128 on: P is the kept part with all that is clipped added to its last bin, Q the
    kept part averaged within each level over the bins that hold anything; least is KL(P ‖ Q), first of equals.
    """
    best, least = len(histogram), np.inf
    for kept in range(min(LEVELS, len(histogram)), len(histogram) + 1):
        divergence = clipped_divergence(histogram, kept, settings)
        if divergence < least:
            best, least = kept, divergence
    return min(1.0, (best + 0.5) / len(histogram))


def clipped_divergence(histogram: NDArray[np.float64], kept: int, settings: Activations) -> float:
    """KL(P ‖ Q) when `kept` bins of a histogram, float64 [bins], are kept; infinite where Q rules out what P holds."""
    part = histogram[:kept]
    reference = part.copy()
    reference[-1] += histogram[kept:].sum()
    filled = part > 0
    levels = _levels(kept, settings)
    sums = np.bincount(levels, weights=part)
    sizes = np.bincount(levels, weights=filled)
    expanded = np.where(filled, (sums / np.maximum(sizes, 1))[levels], 0.0)
    if not expanded.any():
        return np.inf
    p, q = reference / reference.sum(), expanded / expanded.sum()
    present = p > 0
    if np.any(q[present] == 0):
        return np.inf
    return float(np.sum(p[present] * np.log(p[present] / q[present])))


def _levels(kept: int, settings: Activations) -> NDArray[np.int64]:
    """The number of the level that each of the kept bins falls to."""
    if settings.format == "int8":
        return np.arange(kept) * LEVELS // kept
    middles = torch.arange(kept) + 0.5
    codes = codes_of(settings, middles, scale_of_range(settings, torch.tensor([float(kept)])))
    return codes.to(torch.float8_e4m3fn).view(torch.uint8).numpy().astype(np.int64)
