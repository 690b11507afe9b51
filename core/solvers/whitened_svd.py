"""Factors at a layer's outputs: a low-rank fit in the norm of its inputs' second moments."""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.whitened_svd import WhitenedSvd
from benchvise.core.schemes.factors import nearest_factors
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.moments import factor, original_target, unusable
from benchvise.core.solvers.solution import InputStatistics, Solution


def whitened_svd(
    weight: Tensor,
    scheme: Scheme,
    solver: WhitenedSvd,
    statistics: InputStatistics | None,
    context: SolverContext,
) -> Solution:
    """Solve `weight` [rows, columns] in its dtype; without inputs to learn from, factors are nearest to the weight.

    Raises Cancelled.
    """
    rows, columns = weight.shape
    missing = "no calibration inputs" if statistics is None or not statistics.tokens else unusable(statistics.hessian)
    target, moments = weight, None
    if not missing and statistics is not None:
        moments = statistics.hessian.clone()
        moments.diagonal().add_(solver.damping * float(moments.diagonal().mean()))
        if statistics.drift is not None and solver.original_target:
            factored = factor(statistics.hessian, torch.arange(columns), 1, solver.damping, context.progress)
            there = weight.T.float()
            target = there.lerp(original_target(there, statistics.drift, factored), solver.original_target).T
    arithmetic = arithmetic_of(scheme)
    found = nearest_factors(target, scheme.inner_width(rows, columns), context.progress, moments)
    stored = arithmetic.stored(scheme, found, weight.dtype)
    whose = "weight's" if missing else "outputs'"
    note = f"{found.kept:.2%} of the {whose} energy kept by the factors"
    alone = (f"{missing}: solved from the weight alone",) if missing else ()
    notes = (*alone, note if found.exact else f"{note}, by a randomised search")
    return Solution(stored, arithmetic.decode(scheme, stored, 0, rows, columns).to(weight.dtype), notes)
