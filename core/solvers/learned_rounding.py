"""Learned rounding: the codes and scales of a whole block, by gradients of its output's error.

Source: AutoRound, arXiv 2309.05516, section 3. Beyond it, learning can start from error feedback's codes, and use Adam
instead of signed gradients.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import groupby

import torch
from torch import Tensor

from benchvise.core.checkpoint.matrix_shape import from_matrix
from benchvise.core.methods.learned_rounding import LearnedRounding
from benchvise.core.progress import Progress
from benchvise.core.schemes.learning import Learnable
from benchvise.core.schemes.registry import arithmetic_of
from benchvise.core.solvers.adam import Adam
from benchvise.core.solvers.block import BlockForward, BlockLayer
from benchvise.core.solvers.context import SolverContext
from benchvise.core.solvers.solution import Solution
from benchvise.core.solvers.window_sampler import batches_of_windows, picked

_PROBED, _PROBED_AT_ONCE = 16, 8
"""Windows on which the best of several stages of learning is chosen."""

_PROBES = 10


@dataclass
class _Learning:
    """A layer while it is learned: and what is learned of it."""

    layer: BlockLayer
    learnable: Learnable
    offsets: Tensor
    scales: Tensor

    def weight(self) -> Tensor:
        """The layer's weight in its own shape, with gradients."""
        return from_matrix(self.layer.layer, self.learnable.weight(self.offsets, self.scales))

    def solution(self, notes: tuple[str, ...]) -> Solution:
        scheme = self.layer.scheme
        stored = self.learnable.stored(self.offsets.detach(), self.scales.detach())
        rows, columns = self.layer.layer.matrix_shape
        decoded = arithmetic_of(scheme).decode(scheme, stored, 0, rows, columns)
        return Solution(stored, decoded.to(self.layer.weight.dtype), notes)


def learned_rounding(
    block: BlockForward,
    layers: Sequence[BlockLayer],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    context: SolverContext,
) -> dict[str, Solution]:
    """As `core.solvers.registry.SolveBlock` says. Layers with equal solver settings are learned together.

    inputs, targets: float32 [windows, tokens, width] each. Raises Cancelled.
    """
    found: dict[str, Solution] = {}
    ordered = sorted(layers, key=lambda layer: repr(layer.solver))
    groups = [list(group) for _, group in groupby(ordered, key=lambda layer: repr(layer.solver))]
    steps = [_settings(group[0]).steps for group in groups]
    context.progress.start(sum(steps), "steps")
    for group in groups:
        found |= _solve_together(block, group, inputs, targets, context)
        with torch.no_grad():
            for layer in group:
                block.module.get_parameter(layer.parameter).copy_(
                    from_matrix(layer.layer, found[layer.layer.name].decoded)
                )
    return found


def _solve_together(
    forward: BlockForward,
    layers: Sequence[BlockLayer],
    inputs: Sequence[Tensor],
    targets: Sequence[Tensor],
    context: SolverContext,
) -> dict[str, Solution]:
    settings = _settings(layers[0])
    learning = [_initial(layer) for layer in layers]
    block = _Block(forward, learning, inputs, targets, context.progress)
    before = block.probe()
    after = _learn(block, settings, context, before)
    if not after < before:
        note = "learning did not lessen the block's error: the codes it started from are kept"
        return {each.layer.layer.name: _noted(each.layer.initial, note) for each in learning}
    note = f"learned in {settings.steps} steps: the block's output error fell to {after / before:.0%}"
    return {each.layer.layer.name: each.solution((*each.layer.initial.notes, note)) for each in learning}


class _Block:
    """A block with layers under learning, and what it should give."""

    def __init__(
        self,
        forward: BlockForward,
        learning: Sequence[_Learning],
        inputs: Sequence[Tensor],
        targets: Sequence[Tensor],
        progress: Progress,
    ) -> None:
        self._forward = forward
        self._inputs, self._targets = inputs, targets
        self.learning = learning
        self._progress = progress
        self.windows = sum(len(batch) for batch in inputs)

    def loss(self, windows: Sequence[int]) -> Tensor:
        """Mean squared error of the block's output over the windows of those numbers, with gradients."""
        self._progress.check_cancelled()
        weights = {each.layer.parameter: each.weight() for each in self.learning}
        hidden = picked(self._inputs, windows)
        output = self._forward.with_parameters(weights, hidden)
        return (output - picked(self._targets, windows)).square().mean()

    @torch.no_grad()
    def probe(self) -> float:
        """The same over some windows, always the same ones."""
        chosen = probed_windows(self.windows)
        parts = [chosen[start : start + _PROBED_AT_ONCE] for start in range(0, len(chosen), _PROBED_AT_ONCE)]
        return sum(float(self.loss(part)) * len(part) for part in parts) / len(chosen)


def _learn(block: _Block, settings: LearnedRounding, context: SolverContext, before: float) -> float:
    """Move offsets and scales downhill, at rates that fall to zero in a straight line; leave them where the probe is
    least, and return that: `before` is where they begin."""
    offsets = [each.offsets.requires_grad_() for each in block.learning]
    scales = [each.scales.requires_grad_() for each in block.learning] if settings.scale_rate else []
    rates = [settings.learning_rate] * len(offsets) + [settings.learning_rate * settings.scale_rate] * len(scales)
    learned = [*offsets, *scales]
    step = Adam(learned) if settings.optimiser == "adam" else _signed
    windows_of_steps = batches_of_windows(block.windows, settings.batch_windows, context.seed)
    least, best = before, [value.detach().clone() for value in learned]
    for number in range(settings.steps):
        with torch.enable_grad():
            loss = block.loss(next(windows_of_steps))
        context.progress.check_cancelled()
        gradients = torch.autograd.grad(loss, learned)
        left = settings.steps - number
        with torch.no_grad():
            for value, direction, rate in zip(learned, step(gradients), rates, strict=True):
                value.sub_(direction, alpha=rate * left / settings.steps)
            for value in offsets:
                value.clamp_(-settings.reach, settings.reach)
        if probes(left, settings.steps):
            probed = block.probe()
            if probed < least:
                least, best = probed, [value.detach().clone() for value in learned]
        context.progress.advance(1)
    with torch.no_grad():
        for value, found in zip(learned, best, strict=True):
            value.copy_(found)
    return least


def probed_windows(windows: int) -> range:
    """The windows, of so many, on which stages of learning are compared."""
    return range(0, windows, max(1, windows // _PROBED))


def probes(left: int, steps: int) -> bool:
    """Whether it is looked what learning has come to after a step, `left` of `steps` being left with it."""
    return left == 1 or (2 * left <= steps and left % max(1, steps // (2 * _PROBES)) == 0)


def _initial(layer: BlockLayer) -> _Learning:
    """What is to be learned of the layer, from where it was begun."""
    scheme = layer.scheme
    learnable = arithmetic_of(scheme).learnable(scheme, layer.initial.stored, layer.weight.float())
    if learnable is None:
        raise TypeError(f"the codes of {scheme.key} cannot be learned")
    return _Learning(layer, learnable, learnable.offsets, learnable.scales)


def _settings(layer: BlockLayer) -> LearnedRounding:
    solver = layer.solver
    if not isinstance(solver, LearnedRounding):
        raise TypeError(f"{solver.key} is no learned rounding")
    return solver


def _noted(solution: Solution, note: str) -> Solution:
    return replace(solution, notes=(*solution.notes, note))


def _signed(gradients: Sequence[Tensor]) -> list[Tensor]:
    return [gradient.sign() for gradient in gradients]
