"""How much of a layer's output is lost, from the moments of its inputs."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.solvers.solution import InputStatistics


def output_error(weight: Tensor, decoded: Tensor, statistics: InputStatistics | None) -> float | None:
    """‖(W − Ŵ)X‖² / ‖WX‖² over the calibration tokens, for W and Ŵ [outputs, inputs] of any dtype.

    None without inputs or without outputs.
    """
    if statistics is None or not statistics.tokens:
        return None
    hessian = statistics.hessian
    before, error = weight.to(hessian), (decoded.float() - weight.float()).to(hessian)
    energy = float(((before @ hessian) * before).sum(dtype=torch.float64))
    lost = float(((error @ hessian) * error).sum(dtype=torch.float64))
    return max(0.0, lost) / energy if energy > 0 else None
