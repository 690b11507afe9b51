"""The original's answers on a text, against which a model with changed layers is measured."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, ExitStack, nullcontext

import numpy as np
import torch
from torch import Tensor, nn

from benchvise.core.activations.observers import observer_of
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import CheckpointError
from benchvise.core.evaluate.blocks import Blocks, Captured, capture, find_blocks, first_affected, resumable, resume
from benchvise.core.evaluate.divergence import Diverged, kl_divergence, log_probabilities
from benchvise.core.evaluate.forward import batches, diverged, gives_logits, logits_of, vocabulary_of
from benchvise.core.methods.activations import Activations
from benchvise.core.runtime.quantised_inputs import InputQuantiser, linear_of, quantised_input
from benchvise.core.runtime.replace import replaced_weight

_WIDE = 4096
"""The width of hidden states where the config does not say it."""

Changes = Mapping[Layer, tuple[Tensor, Activations | None]]
"""By layer the weight it gets and how its inputs are quantised meanwhile."""


class Reference:
    """Log-probabilities and the outputs of all blocks are kept; a changed layer is felt from its block on, and only
    from there is anything computed. The results are those of the full pass, bit for bit.
    """

    def __init__(self, model: nn.Module, ids: Tensor, source: str) -> None:
        """ids: int64 [windows, tokens]; `source` names the model in errors. Raises CheckpointError when it diverges."""
        self.model = model
        self.ids = ids
        self._source = source
        self._blocks = find_blocks(model)
        self._captured: list[Captured] = []
        self._log_probabilities: list[Tensor] = []
        if not gives_logits(model, ids[:1]):
            raise CheckpointError(
                f"'{type(model).__name__}' gives hidden states, and no logits of which a KL increase could be measured",
                where=source,
                remedy="Compress it as a whole, and evaluate it against its original.",
            )
        for batch in batches(ids, vocabulary_of(model)):
            logits = self._first_pass(batch, ids.numel())
            try:
                self._log_probabilities.append(log_probabilities(logits))
            except Diverged as error:
                raise diverged(source) from error

    def depth(self, layer: Layer) -> int:
        """The first block that feels the layer: what comes before it is not computed again."""
        return first_affected(self.model, self._blocks, layer) if self._blocks else 0

    def divergence(self, layer: Layer, weight: Tensor, activations: Activations | None = None) -> float:
        """Mean KL in nats per token with `weight` in place of the layer's own, which is restored afterwards.

        weight: float32 or the model's dtype, [rows, columns] or the layer's own shape.
        activations: how the layer's inputs are quantised meanwhile; fixed scales are found on the same text.
        Infinite when the outputs are no numbers any more.
        """
        return self.joint_divergence({layer: (weight, activations)})

    def joint_divergence(self, changes: Changes) -> float:
        """The same with several layers changed at once. 0 for none."""
        if not changes:
            return 0.0
        start = min(map(self.depth, changes))
        parts: list[Tensor] = []
        with ExitStack() as stack:
            for layer, (weight, activations) in changes.items():
                stack.enter_context(self._inputs(layer, activations))
                stack.enter_context(replaced_weight(self.model, layer, weight))
            for logits, original in zip(self._passes(start), self._log_probabilities, strict=True):
                try:
                    parts.append(kl_divergence(original, log_probabilities(logits)).flatten().cpu())
                except Diverged:
                    return math.inf
        kl = float(np.mean(torch.cat(parts).numpy(), dtype=np.float64))
        return max(kl, 0.0) if math.isfinite(kl) else math.inf

    def _first_pass(self, batch: Tensor, tokens: int) -> Tensor:
        if self._blocks is None:
            self._captured.append(Captured(batch, ()))
            return logits_of(self.model, batch)
        hidden = int(getattr(self.model.config.get_text_config(), "hidden_size", _WIDE))  # type: ignore[union-attr, operator]
        captured, logits = capture(self.model, self._blocks, batch, tokens * hidden * 4)
        if not self._captured and not resumable(self.model, self._blocks, captured, logits):
            self._blocks = None
            captured = Captured(batch, ())
        self._captured.append(captured)
        return logits

    def _inputs(self, layer: Layer, activations: Activations | None) -> AbstractContextManager[None]:
        if activations is None:
            return nullcontext()
        module = linear_of(self.model, layer)
        if module is None:
            raise CheckpointError(
                f"The inputs of '{layer.name}' cannot be quantised alone: the model has no linear module for it",
                where=self._source,
                remedy="Measure the layer without quantised activations.",
            )
        scale = self._observed(layer, module, activations) if activations.needs_calibration else None
        return quantised_input(module, InputQuantiser(activations, scale))

    def _observed(self, layer: Layer, module: nn.Module, activations: Activations) -> Tensor:
        """The fixed scale that the layer's inputs in the original suggest."""
        observer = observer_of(activations)
        hook = module.register_forward_pre_hook(lambda _, inputs: observer.see(inputs[0].flatten(0, -2)))
        try:
            for _ in self._passes(self.depth(layer)):
                pass
            return observer.scale().to(next(module.parameters()).device)
        except ValueError as error:
            raise diverged(f"{self._source}, inputs of {layer.name}") from error
        finally:
            hook.remove()

    def _passes(self, start: int) -> Iterator[Tensor]:
        blocks: Blocks | None = self._blocks
        for captured in self._captured:
            if blocks is None or start == 0:
                yield logits_of(self.model, captured.ids)
            else:
                yield resume(self.model, blocks, captured, start)
