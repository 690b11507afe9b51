"""What a budget can choose from: the layers and treatments of a measurement, and what each takes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import QObject, Signal

from benchvise.app.budget.kinds import Choices, choices_of
from benchvise.app.budget.model import Allocation, allocation_of
from benchvise.app.budget.uniform_points import uniform_points
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.plots.pareto_plot import Point
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import SizeCandidates
from benchvise.core.protocol.results import Allocated, CandidateSizes
from benchvise.core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document


class Candidates(QObject):
    """choices: exact bytes of what may be chosen; None before they are known. layers: indices of those measured.

    uniform: what was measured of recipes that treat all layers the same. sized: the bytes are there, True for the first
    measurement of a checkpoint. failed: the engine's refusal.
    """

    sized = Signal(bool)
    failed = Signal(object)

    def __init__(self, document: Document, client: EngineClient, parent: QObject) -> None:
        super().__init__(parent)
        self._document = document
        self._asking = LatestRequest(client, self)
        self._of: object = None
        self._first = False
        self.forget()

    def forget(self) -> None:
        """Another checkpoint."""
        self._asking.drop()
        self._of = None
        self._reset()

    def _reset(self) -> None:
        self.choices: Choices | None = None
        self.layers: list[int] = []
        self.uniform: tuple[Point, ...] = ()
        self._places: dict[str, int] = {}
        self._parameters = np.zeros(0, np.int64)
        self._sizes: dict[str, NDArray[np.int64]] = {}
        self._sized: object = None

    @property
    def pending(self) -> bool:
        return self._asking.pending

    @property
    def known(self) -> bool:
        """Whether a measurement was taken."""
        return self._of is not None

    def take_measurement(self) -> bool:
        """Look at the document's newest measurement, and ask what its treatments take. False for one seen before."""
        measurement, checkpoint = self._document.measurement, self._document.checkpoint
        assert measurement is not None
        assert checkpoint is not None
        of = (checkpoint.path, measurement.sensitivity.key, measurement.treatments)
        if of == self._of:
            return False
        self._first, self._of = self._of is None, of
        self._reset()
        self._places = {layer.name: index for index, layer in enumerate(checkpoint.layers)}
        self._parameters = np.array([layer.parameters for layer in checkpoint.layers], np.int64)
        names = {cell.layer for cell in measurement.sensitivity.cells}
        self.layers = sorted(self._places[name] for name in names if name in self._places)
        request = SizeCandidates(
            checkpoint.path, tuple(checkpoint.layers[index].name for index in self.layers), measurement.treatments
        )
        self._asking.ask([request], partial(self._take_sizes, measurement.treatments), self._refused)
        return True

    def size_up(self, chosen: Sequence[Treatment]) -> None:
        """Between which sizes something changes when these may be chosen."""
        document = self._document
        if document.checkpoint is None or not self._sizes or any(each.key not in self._sizes for each in chosen):
            return
        sized = (self._of, tuple(chosen), document.plan is None)
        if sized != self._sized:
            self._sized = sized
            sizes = [self._sizes[each.key] for each in chosen]
            self.choices = choices_of(document.checkpoint, self.layers, sizes, document.plan)
            self.uniform = uniform_points(self.choices, chosen, document.measurement, document.sensitivity)

    def allocation(self, allocated: Allocated) -> Allocation | None:
        """The answer beside what the checkpoint knows of its layers; None when it is about other layers."""
        if any(name not in self._places for name in allocated.layers):
            return None
        return allocation_of(allocated, self._places, self._parameters, frozenset(self._document.locked))

    def locked(self) -> tuple[tuple[str, Treatment], ...]:
        """Of the layers that were measured, those that stay as they are."""
        document = self._document
        assert document.checkpoint is not None
        layers = document.checkpoint.layers
        return tuple(
            (layers[index].name, document.treatment_of(index))
            for index in self.layers
            if layers[index].name in document.locked
        )

    def _take_sizes(self, treatments: Sequence[Treatment], _: int, sizes: CandidateSizes) -> None:
        if self._document.checkpoint is not None and self._document.measurement is not None:
            self._sizes = {treatment.key: row for treatment, row in zip(treatments, sizes.nbytes, strict=True)}
            self.sized.emit(self._first)

    def _refused(self, _: int, failure: Failed) -> None:
        self.failed.emit(failure)
