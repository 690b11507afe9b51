"""How much a network's outputs heed each layer's: second moments of inputs and of gradients, from one backward pass."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.input_hooks import input_rows
from benchvise.core.checkpoint.records import Layer
from benchvise.core.evaluate.forward import batches, vocabulary_of
from benchvise.core.progress import Progress
from benchvise.core.runtime.quantised_inputs import linear_of

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
