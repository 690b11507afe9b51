"""Second moments of the inputs of layers in the original network, for some layers of a loaded model at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial

import torch
from torch import Tensor, nn

from benchvise.core.blockwise.batching import Batching
from benchvise.core.blockwise.block_run import EndRun
from benchvise.core.blockwise.input_hooks import in_order
from benchvise.core.blockwise.observed_layers import observed_layers
from benchvise.core.blockwise.statistics import Collector, Learned, NotFinite, Stream
from benchvise.core.checkpoint.records import Layer
from benchvise.core.evaluate.forward import diverged, logits_of
from benchvise.core.methods.error_feedback import ErrorFeedback
from benchvise.core.methods.integer import Integer
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.solvers.solution import InputStatistics

MOMENT_BYTES = 2 << 30
"""What the moments of the layers that are learned about at once may take."""

_OBSERVED = Treatment(Integer(), ErrorFeedback())
"""Any treatment whose solver asks for second moments."""


@dataclass
class InputMoments:
    """XᵀX ÷ tokens of the inputs that layers get on ids int64 [windows, tokens], learned for several at a time.

    order: the layers in the order in which they will be asked for. Layers whose inputs cannot be seen have none.
    """

    model: nn.Module
    ids: Tensor
    order: Sequence[Layer]
    source: str
    progress: Progress = field(default_factory=NullProgress)
    _learned: Learned = field(default_factory=Learned)
    _asked: set[str] = field(default_factory=set)

    def of(self, layer: Layer) -> InputStatistics | None:
        """Raises CheckpointError when activations are not finite."""
        if layer.name not in self._asked:
            self._learn(layer)
        return self._learned.statistics.get(layer.name)

    def _learn(self, first: Layer) -> None:
        chunk = list(self._chunk(first))
        self._asked = {layer.name for layer in chunk}
        rows = [PlanRow(layer, _OBSERVED, 0, None) for layer in chunk]
        observed = observed_layers(self.model, rows)
        run = EndRun(self.model, partial(logits_of, self.model))
        with torch.no_grad():
            hooks = in_order(self.model, observed.hooks, lambda: run(self.ids[:1]))
            collector = Collector(hooks, observed.wanted, Stream(run, self.ids))
            try:
                self._learned = collector.run(Batching(self.ids.shape[1], self.progress), lambda _: None)
            except NotFinite as error:
                raise diverged(f"{self.source}, on the way to {error}") from error

    def _chunk(self, first: Layer) -> Iterator[Layer]:
        """The layer and those asked for after it, as far as their moments fit."""
        yield first
        room = MOMENT_BYTES - _moment_bytes(first)
        names = [layer.name for layer in self.order]
        place = names.index(first.name) if first.name in names else len(names)
        for layer in self.order[place + 1 :]:
            room -= _moment_bytes(layer)
            if room < 0:
                return
            yield layer


def _moment_bytes(layer: Layer) -> int:
    return 4 * layer.matrix_shape[1] ** 2
