"""Asks for allocations: the newest counts, and what the person did since decides whether it is put in place."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import QObject, Signal

from benchvise.app.budget.candidates import Candidates
from benchvise.app.budget.controls import BudgetControls
from benchvise.app.budget.cost_forecasts import CostForecasts
from benchvise.app.budget.kinds import budget_title
from benchvise.app.budget.model import Allocation
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.core.language import tr
from benchvise.core.protocol.budget import LATENCY
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Allocate, Request
from benchvise.core.protocol.results import Allocated
from benchvise.core.recipe.recipe import KEEP, Treatment

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

_MERGE_KEY = "budget"


class AllocationRequests(QObject):
    """last: the newest answer that was good.

    answered: there is another one. failed: the engine's refusal. timed: what choices take in time is known now.
    """

    answered = Signal()
    failed = Signal(object)
    timed = Signal()

    def __init__(self, document: Document, client: EngineClient, controls: BudgetControls, found: Candidates) -> None:
        super().__init__(found)
        self.last: Allocation | None = None
        self.costs = CostForecasts(client, self)
        self.costs.ready.connect(self.timed)
        self.costs.failed.connect(self.failed)
        self._document = document
        self._controls = controls
        self._candidates = found
        self._asking = LatestRequest(client, self, mode="queue_last")
        self._asked: Allocate | None = None
        self._apply_answer = False
        self._apply_then = False

    @property
    def pending(self) -> bool:
        return self._asking.pending

    @property
    def applies_then(self) -> bool:
        """Whether what waits for times is put in place."""
        return self._apply_then

    @property
    def in_place(self) -> bool:
        """Whether the recipe is what was allocated last."""
        return self.last is not None and self.last.allocated.recipe == self._document.recipe

    def chosen(self) -> tuple[Treatment, ...]:
        """Treatments that may be given."""
        measurement, checked = self._document.measurement, set(self._controls.candidates.checked())
        return tuple(each for each in measurement.treatments if each.tag in checked) if measurement else ()

    def ask(self, *, apply: bool) -> bool:
        """Ask what the controls say. False while times are forecast first: `timed` comes then."""
        if self._controls.kind.key == LATENCY and not self._costs_key():
            self._apply_then = apply
            return False
        self._asking.ask(partial(self._requests, apply=apply), self._take, self._refuse)
        return True

    def drop(self) -> None:
        """What was asked is stale."""
        self._asking.drop()

    def forget(self) -> None:
        """Another checkpoint."""
        self.drop()
        self.costs.forget()
        self.last = None

    def only_look(self) -> bool:
        """Put nothing of what was asked in place. True when something waits, which must be asked anew."""
        self._apply_answer = self._apply_then = False
        return self._asking.waiting

    def last_ms(self) -> float | None:
        """Milliseconds of a decoding step of the last allocation; None where that is not forecast."""
        found = self.last
        if found is None:
            return None
        return self.costs.ms_of({name: found.key(row) for row, name in enumerate(found.names)})

    def _costs_key(self) -> str:
        """Of what each choice takes in time; "" for budgets of other kinds, and while that is being forecast."""
        document = self._document
        if self._controls.kind.key != LATENCY or document.checkpoint is None:
            return ""
        locked = (treatment for _, treatment in self._candidates.locked())
        treatments = dict.fromkeys((KEEP, *self.chosen(), *locked))
        return self.costs.key(document.checkpoint.path, tuple(treatments), document.conditions, document.workspace)

    def _requests(self, *, apply: bool) -> list[Request]:
        """What the controls say, of the recipe as it is now. apply: whether the answer is put in place."""
        document = self._document
        measurement, checkpoint = document.measurement, document.checkpoint
        assert measurement is not None
        assert checkpoint is not None
        request = Allocate(
            checkpoint.path,
            document.recipe,
            measurement.sensitivity.key,
            self.chosen(),
            self._controls.budget(),
            locked=self._candidates.locked(),
            fused=self._controls.fused.isChecked(),
            costs=self._costs_key(),
            workspace=document.workspace,
        )
        self._asked, self._apply_answer = request, apply
        return [request]

    def _take(self, _: int, allocated: Allocated) -> None:
        found = self._candidates.allocation(allocated)
        if found is None:
            return
        self.last = found
        if self._apply_answer and self._asked is not None:
            title = tr("Budget {budget_title}", budget_title=budget_title(self._asked.budget))
            self._document.put_allocation(allocated, title, merge_key=_MERGE_KEY)
        self.answered.emit()

    def _refuse(self, _: int, failure: Failed) -> None:
        self.failed.emit(failure)
