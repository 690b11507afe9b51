"""What measuring layers takes: the model at work, its answers, its layers under treatments; made when first needed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property

from torch import Tensor, nn

from benchvise.core.checkpoint.records import Layer
from benchvise.core.progress import NullProgress, Progress
from benchvise.core.runtime.build import load_model
from benchvise.core.sensitivity.inputs import InputMoments
from benchvise.core.sensitivity.reference import Reference
from benchvise.core.sensitivity.treated import TreatedLayers
from benchvise.core.weights.weights import Weights


class SensitivityContext:
    """ids: int64 [windows, tokens] that KL increases are measured on; shown: likewise, what solvers are shown, or None.

    order: the layers in the order in which they will be asked for. progress advances by the tokens of the first pass.
    """

    def __init__(
        self, weights: Weights, ids: Tensor, shown: Tensor | None, order: Sequence[Layer], progress: Progress
    ) -> None:
        self.weights = weights
        self.ids = ids
        self._shown = shown
        self._order = tuple(order)
        self._progress = progress

    def prepare(self) -> None:
        """Load the model and hear its answers now, not when they are first asked for."""
        self.reference  # noqa: B018 - it is kept

    @cached_property
    def model(self) -> nn.Module:
        """Raises CheckpointError when the checkpoint cannot be run."""
        return load_model(self.weights, progress=self._progress)

    @cached_property
    def reference(self) -> Reference:
        found = Reference(self.model, self.ids, self.weights.source)
        self._progress.advance(self.ids.numel())
        return found

    @cached_property
    def layers(self) -> TreatedLayers:
        shown = None if self._shown is None else self._moments(self._shown)
        return TreatedLayers(self.weights, shown, self._moments(self.ids))

    def _moments(self, ids: Tensor) -> InputMoments:
        return InputMoments(self.model, ids, self._order, self.weights.source, NullProgress())
