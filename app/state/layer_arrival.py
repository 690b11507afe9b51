"""Layers of a checkpoint on their way from the engine."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from dataclasses import dataclass

from benchvise.core.checkpoint.records import Layer
from benchvise.core.protocol.results import LayersOpened

MANY_LAYERS = 10_000


@dataclass(frozen=True)
class Totals:
    """Weights and bytes of all layers, added up as they come: for 100,000 layers a sum is felt in the window."""

    parameters: int = 0
    nbytes: int = 0

    @property
    def bits_per_weight(self) -> float:
        return 8 * self.nbytes / self.parameters if self.parameters else 0.0

    def plus(self, layers: Iterable[Layer]) -> Totals:
        counted = [(layer.parameters, layer.nbytes) for layer in layers]
        return Totals(
            self.parameters + sum(weights for weights, _ in counted), self.nbytes + sum(size for _, size in counted)
        )


class Arrival:
    """One opening. While a great many layers come, Python does not look for cycles among them.

    Such a search stops the window for tenths of a second, again and again while the records grow; they hold no
    cycles and stay until the next opening, so that later searches leave them out.
    """

    def __init__(self) -> None:
        self.layers: list[Layer] = []
        self.totals = Totals()
        self._paused = False

    def take(self, part: object) -> None:
        """One part, in order."""
        if not isinstance(part, LayersOpened):
            return
        self.layers.extend(part.layers)
        self.totals = self.totals.plus(part.layers)
        if not self._paused and len(self.layers) >= MANY_LAYERS:
            self._paused = True
            gc.unfreeze()
            gc.disable()

    def end(self) -> None:
        """All parts are here, or no more will come."""
        if self._paused:
            self._paused = False
            gc.freeze()
            gc.enable()
