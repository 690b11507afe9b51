"""What a layer's error will do at the output, estimated from one backward pass.

To second order the divergence at the output is ½ eᵀF e for an error e of the weights, F the Fisher information of the
network's own predictions. With labels drawn from these predictions and a layer's F taken as the product of the second
moments of its inputs (A) and of its outputs' gradients (B), that is ½ tr(B E A Eᵀ) per token: Martens and Grosse,
Optimizing Neural Networks with Kronecker-factored Approximate Curvature, arXiv 1503.05671, sections 2 and 3.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.input_hooks import input_rows
from benchvise.core.checkpoint.records import Layer
from benchvise.core.compress.whole_matrix import matrix_of, solve_matrix
from benchvise.core.evaluate.forward import batches, vocabulary_of
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.solver import Nearest
from benchvise.core.progress import Progress
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.runtime.quantised_inputs import linear_of
from benchvise.core.sensitivity.treated import SEED
from benchvise.core.solvers.context import layer_context
from benchvise.core.solvers.moments import factor, unusable
from benchvise.core.solvers.solution import InputStatistics
from benchvise.core.weights.weights import Weights

DENSE_SIDE = 4096
"""Up to this many rows the second moments of gradients are kept whole; beyond, their diagonal."""


@dataclass(frozen=True)
class Factors:
    """inputs: XᵀX ÷ tokens, [columns, columns]; gradients: GᵀG ÷ tokens [rows, rows], or its diagonal [rows]."""

    inputs: Tensor
    gradients: Tensor


def factors(model: nn.Module, ids: Tensor, layers: Sequence[Layer], progress: Progress) -> dict[str, Factors]:
    """By the layers' names, on ids int64 [windows, tokens]; layers that are no linear modules are not in it.

    One forward and one backward pass; no gradient of a weight is computed. Progress advances by tokens.
    """
    places = {layer.name: module for layer in layers if (module := linear_of(model, layer)) is not None}
    sums: dict[str, list[Tensor]] = {}
    generator = torch.Generator().manual_seed(0)
    handles = [module.register_forward_hook(_Seeing(name, sums)) for name, module in places.items()]
    entrance = model.get_input_embeddings()  # type: ignore[operator]
    handles.append(entrance.register_forward_hook(lambda _module, _inputs, output: output.requires_grad_(True)))
    try:
        for batch in batches(ids, vocabulary_of(model)):
            progress.check_cancelled()
            with torch.enable_grad():
                logits = model(batch.to(next(model.parameters()).device), use_cache=False).logits.float()
                predicted = logits.detach().flatten(0, -2).softmax(-1).cpu()
                labels = torch.multinomial(predicted, 1, generator=generator).to(logits.device)
                chosen = logits.flatten(0, -2).log_softmax(-1).gather(-1, labels)
                chosen.sum().backward()
            progress.advance(batch.numel())
    finally:
        for handle in handles:
            handle.remove()
    tokens = ids.numel()
    return {name: Factors(inputs / tokens, gradients / tokens) for name, (inputs, gradients) in sums.items()}


@dataclass(frozen=True)
class _Seeing:
    """A forward hook that adds up the second moments of a module's inputs and of the gradients of its outputs."""

    name: str
    sums: dict[str, list[Tensor]]

    def __call__(self, module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        rows = input_rows(module, inputs[0])
        side = output.shape[-1]
        if self.name not in self.sums:
            whole = (side, side) if side <= DENSE_SIDE else (side,)
            self.sums[self.name] = [rows.new_zeros(rows.shape[1], rows.shape[1]), rows.new_zeros(whole)]
        self.sums[self.name][0].addmm_(rows.T, rows)
        output.register_hook(self._add_gradient)  # type: ignore[no-untyped-call]

    def _add_gradient(self, gradient: Tensor) -> None:
        rows = gradient.detach().float().flatten(0, -2)
        total = self.sums[self.name][1]
        if total.dim() == 2:
            total.addmm_(rows.T, rows)
        else:
            total.add_(rows.square().sum(0))


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
    inputs = InputStatistics(known.inputs.cpu(), tokens=1) if treatment.scheme.factored else None
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
