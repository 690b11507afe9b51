"""The budget panel: a target in, the best treatment of each layer out, and why."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout

from benchvise.app.budget.controls import BudgetControls
from benchvise.app.budget.cost_forecasts import CostForecasts
from benchvise.app.budget.forecast_menu import ForecastMenu
from benchvise.app.budget.front_plot import FrontPlot
from benchvise.app.budget.kinds import Choices, budget_at, budget_title, choices_of, equivalent, range_of
from benchvise.app.budget.model import Allocation, allocation_of, why
from benchvise.app.budget.summary import budget_words, front_view, missing_words
from benchvise.app.budget.table import BudgetTable
from benchvise.app.budget.uniform_points import uniform_points
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.plots.pareto_plot import Point
from benchvise.app.state.candidate_treatments import ladder
from benchvise.app.widgets.labels import steady, wrapped
from benchvise.core.allocate.memory import cache_bytes
from benchvise.core.protocol.budget import LATENCY, Budget
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import Allocate, MeasureSensitivity, Request, SizeCandidates
from benchvise.core.protocol.results import Allocated, CandidateSizes, Sensitivity
from benchvise.core.recipe.recipe import KEEP, Treatment

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

MEASURE_SECONDS = 120.0
_MERGE_KEY = "budget"


class BudgetPanel(PlotPanel):
    """Dragging puts the allocation in place; looking at the panel alone changes nothing."""

    title = "Budget"
    icon = "mdi6.wallet-outline"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.costs = CostForecasts(client, self)
        self.costs.ready.connect(self._costs_ready)
        self.costs.failed.connect(lambda failure: self._refused(0, failure))
        self.allocations = LatestRequest(client, self, mode="queue_last")
        self.sizes = LatestRequest(client, self)
        self.controls = BudgetControls()
        conditions = ForecastMenu(document, self.controls.conditions)
        conditions.failed.connect(lambda problem: self._say_problem(f"{problem.what}. {problem.remedy}"))
        self.controls.conditions.setMenu(conditions)
        self.controls.show_conditions(document.conditions)
        self.controls.dragged.connect(partial(self._ask, apply=True))
        self.controls.rules_changed.connect(self._rules_changed)
        self.controls.kind_changed.connect(self._kind_changed)
        self.controls.apply.clicked.connect(partial(self._ask, apply=True))
        self.controls.unlock.clicked.connect(lambda: document.lock(document.locked, locked=False))
        self.controls.measure.clicked.connect(self._measure_or_cancel)
        self.empty.button.clicked.connect(self._measure_or_cancel)
        self.problem = wrapped("error")
        self.problem.setContentsMargins(8, 0, 8, 0)
        self.said = steady()
        self.said.setContentsMargins(8, 0, 8, 0)
        self.why = steady("muted")
        self.why.setContentsMargins(8, 0, 8, 8)
        self.why.setAccessibleName("Why the selected layer has its treatment")
        self.plot = FrontPlot()
        self.plot.point_chosen.connect(self._go_to)
        self.plot.run_clicked.connect(document.set_active_run)
        self.table = BudgetTable(document)
        self._lay_out()
        self._allocation: Allocation | None = None
        self._choices: Choices | None = None
        self._sizes: dict[str, NDArray[np.int64]] = {}
        self._sized: object = None
        self._of: object = None
        self._failure = ""
        self._places: dict[str, int] = {}
        self._measured_layers: list[int] = []
        self._asked: Allocate | None = None
        self._apply_answer = False
        self._apply_then = False
        self._parameters = np.zeros(0, np.int64)
        self._uniform: tuple[Point, ...] = ()
        self._connect()

    def _lay_out(self) -> None:
        split = QSplitter(Qt.Orientation.Vertical)
        split.addWidget(self.plot)
        split.addWidget(self.table)
        split.setStretchFactor(0, 1)
        split.setStretchFactor(1, 1)
        split.setSizes([300, 200])
        split.setChildrenCollapsible(False)
        layout = QVBoxLayout(self.content)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 8, 0)
        line.addWidget(self.said, 1)
        line.addWidget(self.table.filter_line, 0, Qt.AlignmentFlag.AlignTop)
        layout.addWidget(self.controls)
        layout.addWidget(self.problem)
        layout.addLayout(line)
        layout.addWidget(split, 1)
        layout.addWidget(self.why)
        self.problem.hide()

    def _connect(self) -> None:
        document = self.document
        document.checkpoint_changed.connect(self._checkpoint_changed)
        document.sensitivity_changed.connect(self.refresh_soon)
        document.runs_changed.connect(self.refresh_soon)
        document.measuring_changed.connect(self._show_measuring)
        document.conditions_changed.connect(self._conditions_changed)
        document.recipe_changed.connect(self._recipe_changed)
        document.locks_changed.connect(self._rules_changed)
        document.selection_changed.connect(self._show_why)

    @property
    def allocation(self) -> Allocation | None:
        """The last answer that was good."""
        return self._allocation

    # What is there to choose from -----------------------------------------------------------------------------------

    def refresh(self) -> None:
        document = self.document
        if document.checkpoint is None:
            self.say_empty("No checkpoint is open", "Open one to share a budget out among its layers.")
        elif document.measurement is None:
            self.empty.say(*missing_words(document, self._failure))
            self.show_empty()
        else:
            self.show_content()
            self._take_measurement()
            self._show()

    def measure(self) -> None:
        """Measure what the candidates do to each layer; what the workspace knows is not measured again."""
        checkpoint = self.document.checkpoint
        if checkpoint is None or self.document.measuring:
            return
        self._failure = ""
        treatments = {each.key: each for each in ladder(self.document.recipe)}
        if self.document.measurement is not None:
            treatments |= {each.key: each for each in self.document.measurement.treatments}
        request = MeasureSensitivity(
            checkpoint.path,
            "",
            tuple(treatments.values()),
            workspace=self.document.workspace,
            method="auto",
            seconds=MEASURE_SECONDS,
            correct=True,
        )
        self.question.ask([request], self._measured, self._not_measured, self._ended)
        self.refresh()

    def _measure_or_cancel(self) -> None:
        if self.document.measuring:
            self.document.stop_measuring()
        else:
            self.measure()

    def _take_measurement(self) -> None:
        """Offer the treatments of the newest measurement, and look at what the present budget would give."""
        document = self.document
        measurement, checkpoint = document.measurement, document.checkpoint
        assert measurement is not None
        assert checkpoint is not None
        key = (checkpoint.path, measurement.sensitivity.key, measurement.treatments)
        if key == self._of:
            return
        first = self._of is None
        self._of = key
        self._places = {layer.name: index for index, layer in enumerate(checkpoint.layers)}
        self._parameters = np.array([layer.parameters for layer in checkpoint.layers], np.int64)
        names = {cell.layer for cell in measurement.sensitivity.cells}
        self._measured_layers = sorted(self._places[name] for name in names if name in self._places)
        self.controls.offer([treatment.tag for treatment in measurement.treatments])
        self.allocations.drop()
        self._sizes, self._sized, self._choices = {}, None, None
        layers = tuple(checkpoint.layers[index].name for index in self._measured_layers)
        request = SizeCandidates(checkpoint.path, layers, measurement.treatments)
        self.sizes.ask([request], partial(self._take_sizes, measurement.treatments, first=first), self._refused)

    def _take_sizes(self, treatments: Sequence[Treatment], _: int, sizes: CandidateSizes, *, first: bool) -> None:
        document = self.document
        if document.checkpoint is None or document.measurement is None:
            return
        self._sizes = {treatment.key: row for treatment, row in zip(treatments, sizes.nbytes, strict=True)}
        self._size_up()
        if first:
            self.controls.begin(document.plan, document.checkpoint)
        self._ask(apply=False)

    def _size_up(self) -> None:
        """Between which budgets something changes; what each choice takes comes from the engine."""
        document = self.document
        assert document.checkpoint is not None
        chosen, layers = self._candidates(), self._measured_layers
        if not self._sizes or any(each.key not in self._sizes for each in chosen):
            return
        sized = (self._of, chosen, tuple(layers), document.plan is None)
        if sized != self._sized:
            self._sized = sized
            self._choices = choices_of(
                document.checkpoint, layers, [self._sizes[each.key] for each in chosen], document.plan
            )
            self._uniform = uniform_points(self._choices, chosen, document.measurement, document.sensitivity)
        self._set_range()

    def _set_range(self) -> None:
        if self._choices is not None:
            kl_increases = (cell.kl for cell in self.document.sensitivity.values())
            allocated = self._allocation.allocated if self._allocation is not None else None
            kind = self.controls.kind.key
            found = (
                self.costs.range_ms()
                if kind == LATENCY
                else range_of(kind, self._choices, allocated, kl_increases, self._cache_bytes())
            )
            if found is not None:
                self.controls.set_range(*found)

    def _cache_bytes(self) -> int:
        """What the context takes beside the weights."""
        checkpoint = self.document.checkpoint
        return cache_bytes(checkpoint.config, self.controls.context.value()) if checkpoint is not None else 0

    def _candidates(self) -> tuple[Treatment, ...]:
        measurement, checked = self.document.measurement, set(self.controls.candidates.checked())
        return tuple(each for each in measurement.treatments if each.tag in checked) if measurement else ()

    # Asking ---------------------------------------------------------------------------------------------------------

    def _ask(self, *, apply: bool) -> None:
        if self.document.measurement is None or self.document.checkpoint is None or self._choices is None:
            return
        if not self._candidates():
            self._say_problem("No treatment may be chosen. Check at least one candidate.")
        elif self.controls.kind.key == LATENCY and not self._costs_key():
            self._apply_then = apply
            self.said.setText("Forecasting what each treatment of each layer takes of a decoding step …")
        else:
            self.allocations.ask(partial(self._requests, apply=apply), self._answered, self._refused)

    def _costs_key(self) -> str:
        """Of what each choice takes in time; "" for budgets of other kinds, and while that is being forecast."""
        document = self.document
        if self.controls.kind.key != LATENCY or document.checkpoint is None:
            return ""
        treatments = dict.fromkeys((KEEP, *self._candidates(), *(treatment for _, treatment in self._locked())))
        return self.costs.key(document.checkpoint.path, tuple(treatments), document.conditions, document.workspace)

    def _costs_ready(self) -> None:
        self._say_problem("")
        self._set_range()
        if not self._apply_then:
            self._show_equivalent()
        self._ask(apply=self._apply_then)

    def _locked(self) -> tuple[tuple[str, Treatment], ...]:
        """Of the layers that were measured, those that stay as they are."""
        document = self.document
        assert document.checkpoint is not None
        layers = document.checkpoint.layers
        return tuple(
            (layers[index].name, document.treatment_of(index))
            for index in self._measured_layers
            if layers[index].name in document.locked
        )

    def _requests(self, *, apply: bool) -> list[Request]:
        """What the controls say, of the recipe as it is now. apply: whether the answer is put in place."""
        document = self.document
        measurement, checkpoint = document.measurement, document.checkpoint
        assert measurement is not None
        assert checkpoint is not None
        request = Allocate(
            checkpoint.path,
            document.recipe,
            measurement.sensitivity.key,
            self._candidates(),
            self.controls.budget(),
            locked=self._locked(),
            fused=self.controls.fused.isChecked(),
            costs=self._costs_key(),
            workspace=document.workspace,
        )
        self._asked, self._apply_answer = request, apply
        return [request]

    def _answered(self, _: int, allocated: Allocated) -> None:
        document = self.document
        if any(name not in self._places for name in allocated.layers):
            return
        self._say_problem("")
        locked = frozenset(document.locked)
        self._allocation = allocation_of(allocated, self._places, self._parameters, locked)
        if self._apply_answer and self._asked is not None:
            document.put_allocation(allocated, f"Budget {budget_title(self._asked.budget)}", merge_key=_MERGE_KEY)
        if self.isVisible() and self.shows_content:
            self._show()

    def _refused(self, _: int, failure: Failed) -> None:
        found = self._allocation
        kept = " The allocation below is the last that could be met." if found is not None else ""
        self.said.setText(budget_words(found, self._choices, self.document.conditions) if found is not None else "")
        self._say_problem(f"{failure.what}. {failure.remedy}{kept}".strip())

    def _rules_changed(self) -> None:
        """Other candidates or other locks: what was asked before is stale."""
        if self.document.measurement is None or self._of is None:
            return
        self.allocations.drop()
        self._size_up()
        self.controls.show_locks(len(self.document.locked))
        self._ask(apply=self._in_place())

    def _kind_changed(self) -> None:
        """Another unit for the present allocation, which stays. Only its time in each layer may have to be asked."""
        self.allocations.drop()
        self._set_range()
        if not self._show_equivalent() or self.controls.kind.key == LATENCY:
            self._ask(apply=False)

    def _show_equivalent(self) -> bool:
        """Show the present allocation as a budget of the kind that is chosen; False where that is not known."""
        found, kind = self._allocation, self.controls.kind.key
        if found is None or self._choices is None:
            return False
        if kind == LATENCY:
            milliseconds = self.costs.ms_of({name: found.tag(row) for row, name in enumerate(found.names)})
            budget = Budget(LATENCY, milliseconds) if milliseconds is not None else None
        else:
            context = self.controls.context.value(), self._cache_bytes()
            budget = equivalent(kind, found.allocated, self._choices, context)
        if budget is None:
            return False
        self.controls.show_budget(budget)
        return True

    def _conditions_changed(self) -> None:
        """Times mean something else now; the present allocation stays, and its time is asked anew."""
        self.controls.show_conditions(self.document.conditions)
        self.controls.forget(LATENCY)
        self.costs.forget()
        if self.controls.kind.key == LATENCY:
            self.allocations.drop()
            self._ask(apply=False)

    def _go_to(self, place: int) -> None:
        """A click on the front."""
        if self._allocation is None or self._choices is None:
            return
        kind, context = self.controls.kind.key, self.controls.context.value()
        self.share_out(
            budget_at(kind, place, self._allocation.allocated, self._choices, (context, self._cache_bytes()))
        )

    def share_out(self, budget: Budget) -> None:
        """Show the budget in the controls, and put what it allows in place."""
        self.controls.show_budget(budget)
        self._set_range()
        self._ask(apply=True)

    # Showing --------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self.controls.show_locks(len(self.document.locked))
        found = self._allocation
        self._show_in_place()
        if found is None:
            self.plot.show_front(None)
            self.table.model.show(None)
            self.said.setText("Working it out …" if self.allocations.pending or self.sizes.pending else "")
            return
        self._set_range()
        self.said.setText(budget_words(found, self._choices, self.document.conditions))
        self.plot.show_front_now(front_view(found.allocated, self.document, self._uniform))
        self.table.model.show(found)
        self._show_why()

    def _show_in_place(self) -> None:
        found = self._allocation
        self.controls.apply.setVisible(found is not None and not self._in_place())

    def _in_place(self) -> bool:
        """Whether the recipe is what was allocated last."""
        return self._allocation is not None and self._allocation.allocated.recipe == self.document.recipe

    def _show_why(self) -> None:
        found, layer = self._allocation, self.document.current
        self.table.follow_document()
        if found is None or layer is None:
            self.why.setText("")
        elif layer.name in found.names:
            self.why.setText(why(found, found.names.index(layer.name)))
        else:
            self.why.setText(f"{layer.name} takes no part: it was not measured.")

    def _say_problem(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def _recipe_changed(self) -> None:
        """A recipe that the budget did not make stays: what is asked of the budget is only looked at from now on."""
        if not self._in_place():
            self._apply_answer = self._apply_then = False
            if self.allocations.waiting:
                self._ask(apply=False)
        if self.isVisible():
            self._show_in_place()

    def _checkpoint_changed(self) -> None:
        self.question.drop()
        self.allocations.drop()
        self.sizes.drop()
        self.costs.forget()
        self._sizes = {}
        self._allocation, self._choices, self._sized, self._of = None, None, None, None
        self._failure = ""
        self.said.forget()
        self.why.forget()
        self._say_problem("")
        self.refresh_soon()

    def _measured(self, _: int, __: Sensitivity) -> None:
        self._ended()

    def _not_measured(self, _: int, event: Failed) -> None:
        self._failure = f"{event.what}. {event.remedy}".strip()
        self._ended()

    def _ended(self) -> None:
        self.refresh_soon()

    def _show_measuring(self) -> None:
        """Wherever it was begun."""
        self.controls.show_measuring(self.document.measuring)
        self.refresh_soon()
