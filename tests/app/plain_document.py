"""A document and an engine for panels: the engine answers when the test lets it, with what the core really says."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from PySide6.QtCore import QObject, Signal

from benchvise.app.state.sensitivity_results import Measurement
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.engine import answer
from benchvise.core.errors import UserError
from benchvise.core.progress import NullProgress
from benchvise.core.protocol.events import Event, Failed, Finished, Stopped
from benchvise.core.protocol.requests import MeasureSensitivity, Request
from benchvise.core.protocol.results import Planned, RunSummary, SensitivityCell
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from tests.app.fake_engine import FakeClient

SAMPLE = Path(__file__).parents[2] / "resources" / "sample"


@cache
def _real(request: Request) -> Any:
    return answer(request, NullProgress())


class PatientClient(FakeClient):
    """Keeps questions until the test answers them, in any order."""

    settled = Signal()

    def __init__(self) -> None:
        super().__init__()
        self.ended: set[int] = set()
        self.transport.ordered.connect(self.settled)

    @property
    def asked(self) -> list[Request]:
        return list(self.requests.values())

    @property
    def open(self) -> dict[int, Request]:
        """What is not answered yet, by number."""
        return {number: request for number, request in self.requests.items() if number not in self.ended}

    def answer(self, number: int, result: Any = None) -> None:
        """Give `result`, or what the core says to the request."""
        try:
            result = _real(self.requests[number]) if result is None else result
        except UserError as error:
            result = Failed(number, error.what, error.where, error.remedy)
        self._end(number, result if isinstance(result, Failed) else Finished(number, result))

    def answer_all(self) -> None:
        while self.open:
            self.answer(min(self.open))

    def stop(self, number: int) -> None:
        self._end(number, Stopped(number))

    def _end(self, number: int, event: Event) -> None:
        self.ended.add(number)
        self.say(event)
        self.settled.emit()


class PlainDocument(QObject):
    """What panels read and hear of a document."""

    checkpoint_changed = Signal()
    recipe_changed = Signal()
    plan_changed = Signal()
    selection_changed = Signal()
    sensitivity_changed = Signal()
    runs_changed = Signal()
    active_run_changed = Signal()
    trial_changed = Signal()
    measuring_changed = Signal()

    def __init__(self, checkpoint: Checkpoint | None, workspace: str, client: PatientClient) -> None:
        super().__init__()
        self._client = client
        client.settled.connect(self.measuring_changed)
        self.checkpoint = checkpoint
        self.workspace = workspace
        self.selection: tuple[int, ...] = ()
        self.sensitivity: dict[tuple[str, str], SensitivityCell] = {}
        self.measurement: Measurement | None = None
        self.trial: Treatment | None = None
        self.runs: tuple[RunSummary, ...] = ()
        self.active_run = ""
        self.recipe = Recipe()
        self.treatment: Treatment = KEEP
        self.plan: Planned | None = None
        self.plan_is_current = False
        self.treated: list[tuple[tuple[int, ...], tuple[Treatment, ...]]] = []

    def own_runs(self):
        return tuple(run for run in self.runs if self.checkpoint is not None and run.checkpoint == self.checkpoint.path)

    @property
    def current(self) -> Layer | None:
        return self.checkpoint.layers[self.selection[0]] if self.checkpoint and self.selection else None

    @property
    def measuring(self) -> bool:
        return bool(self._measurements())

    def stop_measuring(self) -> None:
        for number in self._measurements():
            self._client.control(number, "cancel")

    def _measurements(self) -> list[int]:
        return [number for number, asked in self._client.open.items() if isinstance(asked, MeasureSensitivity)]

    def treatment_of(self, index: int) -> Treatment:  # noqa: ARG002 - the panels' contract
        return self.treatment

    def give(self, treatment: Treatment) -> None:
        self.recipe = Recipe()
        self.treatment = treatment
        self.recipe_changed.emit()

    def treat(self, indices, treatments, title: str) -> None:  # noqa: ARG002 - the panels' contract
        self.treated.append((tuple(indices), tuple(treatments)))

    def try_out(self, treatment: Treatment | None) -> None:
        self.trial = treatment
        self.trial_changed.emit()

    def select(self, indices) -> None:
        self.selection = tuple(indices)
        self.selection_changed.emit()

    def select_named(self, *ends: str) -> None:
        layers = self.checkpoint.layers
        self.select(index for end in ends for index, layer in enumerate(layers) if layer.name.endswith(end))

    def set_active_run(self, run: str) -> None:
        if run != self.active_run:
            self.active_run = run
            self.active_run_changed.emit()
