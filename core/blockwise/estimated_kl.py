"""What a layer's error will do at the output, estimated from one backward pass.

To second order the divergence at the output is ½ eᵀF e for an error e of the weights, F the Fisher information of the
network's own predictions. With labels drawn from these predictions and a layer's F taken as the product of the second
moments of its inputs (A) and of its outputs' gradients (B), that is ½ tr(B E A Eᵀ) per token: Martens and Grosse,
Optimizing Neural Networks with Kronecker-factored Approximate Curvature, arXiv 1503.05671, sections 2 and 3.
"""

from __future__ import annotations

import torch
from torch import Tensor

from benchvise.core.blockwise.curvature import Factors
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.whole_matrix import matrix_of, solve_matrix
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.context import layer_context
from benchvise.core.solvers.moments import factor, unusable
from benchvise.core.solvers.solution import InputStatistics
from benchvise.core.weights.weights import Weights

SEED = 0
"""Of randomised solvers: what a treatment adds to the KL is found outside of any recipe."""


@torch.no_grad()
def estimated(weights: Weights, layer: Layer, treatment: Treatment, known: Factors, progress: Progress) -> float:
    """KL in nats per token that the treatment of this layer alone will bring.

    Where the solver lets later weights make good the errors of earlier ones, rounding to nearest stands for it, and
    what remains of the errors is estimated too: with independent errors and H = LᵀDL it is D in the place of A
    (QuIP, arXiv 2307.13304, section 3).
    """
    matrix = matrix_of(layer, weights.dense(layer))
    compensates = treatment.solver.compensates
    stand_in = Treatment(treatment.scheme, Nearest()) if compensates else treatment
    context = layer_context(SEED, layer.name, progress, matrix.device.type)
    # Factors follow the inputs wherever they are known; nothing stands for them.
    inputs = InputStatistics(known.inputs.cpu(), tokens=1) if "factors" in treatment.scheme.capabilities else None
    lost = (solve_matrix(matrix, stand_in, inputs, context).decoded.float() - matrix.float()).to(known.inputs.device)
    if compensates:
        remaining = lost.square() @ _cost_of_errors(known.inputs)
        gradients = known.gradients.diagonal() if known.gradients.dim() == 2 else known.gradients
        return 0.5 * float((gradients * remaining).sum(dtype=torch.float64))
    weighed = known.gradients @ lost if known.gradients.dim() == 2 else known.gradients[:, None] * lost
    return max(0.0, 0.5 * float((weighed * (lost @ known.inputs)).sum(dtype=torch.float64)))


def _cost_of_errors(inputs: Tensor) -> Tensor:
    """What a squared error of each column [columns] costs once others have made it good as far as they can."""
    if unusable(inputs):
        return inputs.diagonal()
    order = inputs.diagonal().argsort(descending=True)
    found = factor(inputs, order, 1, ErrorFeedback().damping)
    cost = torch.empty_like(found.cost)
    cost[order] = found.cost * found.scale
    return cost
