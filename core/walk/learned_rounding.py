"""Learned rounding: the codes and scales of a whole block, by gradients of its output's error.

Source: AutoRound, arXiv 2309.05516, section 3. Beyond it, learning can start from error feedback's codes, and use Adam
instead of signed gradients.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor
from torch.func import functional_call

from core.checkpoint.tensors import torch_dtype
from core.compress.layer_matrix import as_matrix, from_matrix
from core.methods.error_feedback import ErrorFeedback
from core.methods.learned_rounding import LearnedRounding
from core.methods.solver import Nearest, Solver
from core.progress import Progress
from core.schemes.learning import Learnable
from core.schemes.registry import arithmetic_of
from core.solvers.moments import factor, original_target, unusable
from core.solvers.registry import SOLVE_MATRIX
from core.solvers.solution import Solution
from core.walk.adam import Adam
from core.walk.block_layer import BlockLayer
from core.walk.block_run import BlockRun, hidden_of
from core.walk.draws import draws, picked


@dataclass
class _Learning:
    """A layer while it is learned: where it began, its values as a matrix, and what is learned."""

    layer: BlockLayer
    begun: Solution
    learnable: Learnable
    offsets: Tensor
    scales: Tensor

    def weight(self) -> Tensor:
        """The layer's weight in its own shape, with gradients."""
        return from_matrix(self.layer.layer, self.learnable.weight(self.offsets, self.scales))

    def solution(self, notes: tuple[str, ...]) -> Solution:
        treatment = self.layer.treatment
        stored = self.learnable.stored(self.offsets.detach(), self.scales.detach())
        rows, columns = self.layer.layer.matrix_shape
        decoded = arithmetic_of(treatment.scheme).decode(treatment.scheme, stored, 0, rows, columns)
        return Solution(stored, decoded, notes)


def solve_block(
    run: BlockRun,
    layers: Sequence[BlockLayer],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    seed: int,
    progress: Progress,
) -> dict[str, Solution]:
    """As `core.walk.registry.SOLVE_BLOCK` says. Layers of one treatment's solver are learned together."""
    found: dict[str, Solution] = {}
    ordered = sorted(layers, key=lambda layer: repr(layer.treatment.solver))
    groups = [list(group) for _, group in groupby(ordered, key=lambda layer: repr(layer.treatment.solver))]
    steps = [_settings(group[0]).steps for group in groups]
    progress.start(sum(steps), "steps")
    for group in groups:
        found |= _solve_together(run, group, inputs, targets, seed, progress)
        with torch.no_grad():
            for layer in group:
                run.module.get_parameter(layer.parameter).copy_(
                    from_matrix(layer.layer, found[layer.layer.name].decoded)
                )
    return found


def _solve_together(
    run: BlockRun,
    layers: Sequence[BlockLayer],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    seed: int,
    progress: Progress,
) -> dict[str, Solution]:
    settings = _settings(layers[0])
    with torch.no_grad():
        learning = [_begin(run, layer) for layer in layers]
        before = _error(run, {each.layer.parameter: each.weight() for each in learning}, inputs, targets)
    _learn(run, learning, settings, inputs, targets, seed, progress)
    with torch.no_grad():
        after = _error(run, {each.layer.parameter: each.weight() for each in learning}, inputs, targets)
    if not after < before:
        note = "learning did not lessen the block's error: the codes it started from are kept"
        return {each.layer.layer.name: _noted(each.begun, note) for each in learning}
    note = f"learned in {settings.steps} steps: the block's output error fell to {after / before:.0%}"
    return {each.layer.layer.name: each.solution((*each.begun.notes, note)) for each in learning}


def _learn(
    run: BlockRun,
    learning: Sequence[_Learning],
    settings: LearnedRounding,
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    seed: int,
    progress: Progress,
) -> None:
    """Move offsets and scales downhill; rates fall to zero in a straight line."""
    offsets = [each.offsets.requires_grad_() for each in learning]
    scales = [each.scales.requires_grad_() for each in learning] if settings.scale_rate else []
    rates = [settings.learning_rate] * len(offsets) + [settings.learning_rate * settings.scale_rate] * len(scales)
    learned = [*offsets, *scales]
    step = Adam(learned) if settings.optimiser == "adam" else _signed
    windows_of_steps = draws(sum(len(batch) for batch in inputs), settings.batch_windows, seed)
    for number in range(settings.steps):
        progress.check_cancelled()
        windows = next(windows_of_steps)
        with torch.enable_grad():
            weights = {each.layer.parameter: each.weight() for each in learning}
            output = _output(run, weights, picked(inputs, windows))
            loss = (output - picked(targets, windows)).square().mean()
        gradients = torch.autograd.grad(loss, learned)
        with torch.no_grad():
            left = 1 - number / settings.steps
            for value, gradient, rate in zip(learned, step(gradients), rates, strict=True):
                value.sub_(gradient, alpha=rate * left)
            for value in offsets:
                value.clamp_(-settings.reach, settings.reach)
        progress.advance(1)


def _begin(run: BlockRun, layer: BlockLayer) -> _Learning:
    """Solve the layer by what learning starts from."""
    settings, scheme = _settings(layer), layer.treatment.scheme
    matrix = as_matrix(layer.layer, run.module.get_parameter(layer.parameter).detach()).contiguous()
    weight = matrix.to(torch_dtype(layer.layer.dtype))
    solver: Solver = Nearest(clip_search=True, importance=True)
    if settings.start == "error_feedback":
        solver = ErrorFeedback()
    begun = SOLVE_MATRIX[type(solver)](weight, scheme, solver, layer.statistics)
    target = _aim(matrix.float().cpu(), layer) if settings.start == "error_feedback" else matrix.float().cpu()
    learnable = arithmetic_of(scheme).learnable(scheme, begun.stored, target)
    if learnable is None:
        raise TypeError(f"the codes of {scheme.key} cannot be learned")
    return _Learning(layer, begun, learnable, learnable.offsets, learnable.scales)


def _aim(matrix: Tensor, layer: BlockLayer) -> Tensor:
    """What error feedback aims at: the weight that makes the original's outputs of today's inputs."""
    statistics = layer.statistics
    if statistics is None or statistics.cross is None or unusable(statistics.hessian):
        return matrix
    factored = factor(statistics.hessian, torch.arange(matrix.shape[1]), 1, ErrorFeedback().damping)
    return original_target(matrix.T, statistics.hessian, statistics.cross, factored).T


def _settings(layer: BlockLayer) -> LearnedRounding:
    solver = layer.treatment.solver
    if not isinstance(solver, LearnedRounding):
        raise TypeError(f"{solver.key} is no learned rounding")
    return solver


def _noted(solution: Solution, note: str) -> Solution:
    return replace(solution, notes=(*solution.notes, note))


def _output(run: BlockRun, weights: Mapping[str, Tensor], hidden: Tensor) -> Tensor:
    """What the block makes of hidden states [windows, tokens, width] with these weights in place of its own."""
    given = run.arguments(hidden.shape[0], hidden.shape[1])
    return hidden_of(functional_call(run.module, dict(weights), (hidden, *given.args), given.kwargs))


def _error(run: BlockRun, weights: Mapping[str, Tensor], inputs: Sequence[Tensor], targets: Sequence[Tensor]) -> float:
    """Σ (output − target)² over all calibration windows."""
    return sum(
        float((_output(run, weights, hidden) - target).square().sum())
        for hidden, target in zip(inputs, targets, strict=True)
    )


def _signed(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [gradient.sign() for gradient in gradients]
