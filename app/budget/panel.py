"""The budget panel: a target in, the best treatment of each layer out, and why."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QHBoxLayout, QSplitter, QVBoxLayout

from benchvise.app.budget.allocator import AllocationRequests
from benchvise.app.budget.candidates import Candidates
from benchvise.app.budget.controls import BudgetControls
from benchvise.app.budget.fit_cards import FitCards
from benchvise.app.budget.forecast_menu import ForecastMenu
from benchvise.app.budget.front_plot import FrontPlot
from benchvise.app.budget.kinds import budget_at, equivalent, range_of
from benchvise.app.budget.model import Allocation, why
from benchvise.app.budget.summary import budget_words, front_view, missing_words
from benchvise.app.budget.table import BudgetTable
from benchvise.app.panel.plot_panel import PlotPanel
from benchvise.app.state.candidate_treatments import ladder
from benchvise.app.widgets.labels import steady, wrapped
from benchvise.core.allocate.memory import cache_bytes
from benchvise.core.language import message, tr
from benchvise.core.protocol.budget import LATENCY, Budget
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity

if TYPE_CHECKING:
    from benchvise.app.engine.client import EngineClient
    from benchvise.app.state.document import Document

MEASURE_SECONDS = 120.0


class BudgetPanel(PlotPanel):
    """Dragging puts the allocation in place; looking at the panel alone changes nothing."""

    title = message("Budget")
    icon = "mdi6.wallet-outline"

    def __init__(self, document: Document, client: EngineClient) -> None:
        super().__init__(document, client)
        self.controls = BudgetControls()
        self.candidates = Candidates(document, client, self)
        self.allocator = AllocationRequests(document, client, self.controls, self.candidates)
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
        self._make_labels()
        self.cards = FitCards()
        self.cards.chosen.connect(self._go_to)
        self.plot = FrontPlot()
        self.plot.point_chosen.connect(self._go_to)
        self.plot.run_clicked.connect(document.set_active_run)
        self.table = BudgetTable(document)
        self._lay_out()
        self._failure = ""
        self._wanted: Budget | None = None
        self._connect()

    def _make_labels(self) -> None:
        self.problem = wrapped("error")
        self.problem.setContentsMargins(8, 0, 8, 0)
        self.said = steady()
        self.said.setContentsMargins(8, 0, 8, 0)
        self.why = steady("muted")
        self.why.setContentsMargins(8, 0, 8, 8)
        self.why.setAccessibleName(tr("Why the selected layer has its treatment"))

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
        layout.addWidget(self.cards)
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
        self.candidates.sized.connect(self._sized)
        self.candidates.failed.connect(self._refused)
        self.allocator.answered.connect(self._answered)
        self.allocator.failed.connect(self._refused)
        self.allocator.timed.connect(self._timed)

    @property
    def allocation(self) -> Allocation | None:
        """The last answer that was good."""
        return self.allocator.last

    # What is there to choose from -----------------------------------------------------------------------------------

    def refresh(self) -> None:
        document = self.document
        if document.checkpoint is None:
            self.say_empty(tr("No checkpoint is open"), tr("Open one to share a budget out among its layers."))
        elif document.measurement is None:
            self.empty.say(*missing_words(document, self._failure))
            self.show_empty()
        else:
            self.show_content()
            self._take_measurement()
            self._show()

    def fit(self, budget: Budget | None) -> None:
        """Share this budget out once it is known what the candidates do to each layer; None only finds that out."""
        self._wanted = budget
        if self.document.measurement is None:
            self.measure()
        elif self.candidates.choices is not None:
            self._share_out_wanted()

    def _share_out_wanted(self) -> None:
        budget, self._wanted = self._wanted, None
        if budget is not None:
            self.share_out(budget)

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
        measurement = self.document.measurement
        if measurement is not None and self.candidates.take_measurement():
            self.controls.offer([treatment.tag for treatment in measurement.treatments])
            self.allocator.drop()

    def _sized(self, first: bool) -> None:
        self._size_up()
        if first and self.document.checkpoint is not None:
            self.controls.begin(self.document.plan, self.document.checkpoint)
        if self._wanted is not None:
            self._share_out_wanted()
        else:
            self._ask(apply=False)

    def _size_up(self) -> None:
        self.candidates.size_up(self.allocator.chosen())
        self._set_range()

    def _set_range(self) -> None:
        """Between which budgets something changes."""
        choices, kind = self.candidates.choices, self.controls.kind.key
        if choices is None:
            return
        if kind == LATENCY:
            found = self.allocator.costs.range_ms()
        else:
            kl_increases = (cell.kl for cell in self.document.sensitivity.values())
            allocated = self.allocation.allocated if self.allocation is not None else None
            found = range_of(kind, choices, allocated, kl_increases, self._cache_bytes())
        if found is not None:
            self.controls.set_range(*found)

    def _cache_bytes(self) -> int:
        """What the context takes beside the weights."""
        checkpoint = self.document.checkpoint
        return cache_bytes(checkpoint.config, self.controls.context.value()) if checkpoint is not None else 0

    # Asking ---------------------------------------------------------------------------------------------------------

    def _ask(self, *, apply: bool) -> None:
        document = self.document
        if document.measurement is None or document.checkpoint is None or self.candidates.choices is None:
            return
        if not self.allocator.chosen():
            self._say_problem(tr("No treatment may be chosen. Check at least one candidate."))
        elif not self.allocator.ask(apply=apply):
            self.said.setText(tr("Forecasting what each treatment of each layer takes of a decoding step …"))

    def _timed(self) -> None:
        self._say_problem("")
        self._set_range()
        apply = self.allocator.applies_then
        if not apply:
            self._show_equivalent()
        self._ask(apply=apply)

    def _answered(self) -> None:
        self._say_problem("")
        if self.isVisible() and self.shows_content:
            self._show()

    def _refused(self, failure: Failed) -> None:
        found = self.allocation
        kept = tr(" The allocation below is the last that could be met.") if found is not None else ""
        self.said.setText(self._words(found) if found is not None else "")
        self._say_problem(f"{failure.what}. {failure.remedy}{kept}".strip())

    def _words(self, found: Allocation) -> str:
        return budget_words(found, self.candidates.choices, self.document.conditions)

    def _rules_changed(self) -> None:
        """Other candidates or other locks: what was asked before is stale."""
        if self.document.measurement is None or not self.candidates.known:
            return
        self.allocator.drop()
        self._size_up()
        self.controls.show_locks(len(self.document.locked))
        self._ask(apply=self.allocator.in_place)

    def _kind_changed(self) -> None:
        """Another unit for the present allocation, which stays. Only its time in each layer may have to be asked."""
        self.allocator.drop()
        self._set_range()
        if not self._show_equivalent() or self.controls.kind.key == LATENCY:
            self._ask(apply=False)

    def _show_equivalent(self) -> bool:
        """Show the present allocation as a budget of the kind that is chosen; False where that is not known."""
        found, choices, kind = self.allocation, self.candidates.choices, self.controls.kind.key
        if found is None or choices is None:
            return False
        if kind == LATENCY:
            milliseconds = self.allocator.last_ms()
            budget = Budget(LATENCY, milliseconds) if milliseconds is not None else None
        else:
            budget = equivalent(kind, found.allocated, choices, self._context())
        if budget is None:
            return False
        self.controls.show_budget(budget)
        return True

    def _context(self) -> tuple[int, int]:
        """Tokens, and what they take in memory."""
        return self.controls.context.value(), self._cache_bytes()

    def _conditions_changed(self) -> None:
        """Times mean something else now; the present allocation stays, and its time is asked anew."""
        self.controls.show_conditions(self.document.conditions)
        self.controls.forget(LATENCY)
        self.allocator.costs.forget()
        if self.controls.kind.key == LATENCY:
            self.allocator.drop()
            self._ask(apply=False)

    def _go_to(self, place: int) -> None:
        """A click on the front."""
        found, choices = self.allocation, self.candidates.choices
        if found is not None and choices is not None:
            kind = self.controls.kind.key
            self.share_out(budget_at(kind, place, found.allocated, choices, self._context()))

    def share_out(self, budget: Budget) -> None:
        """Show the budget in the controls, and put what it allows in place."""
        self.controls.show_budget(budget)
        self._set_range()
        self._ask(apply=True)

    # Showing --------------------------------------------------------------------------------------------------------

    def _show(self) -> None:
        self.controls.show_locks(len(self.document.locked))
        found = self.allocation
        self._show_in_place()
        before = self.document.checkpoint.nbytes if self.document.checkpoint is not None else 0
        self.cards.show_choices(found.allocated if found is not None else None, self.candidates.choices, before)
        if found is None:
            self.plot.show_front(None)
            self.table.model.show(None)
            self.said.setText(tr("Working it out …") if self.allocator.pending or self.candidates.pending else "")
            return
        self._set_range()
        self.said.setText(self._words(found))
        self.plot.show_front_now(front_view(found.allocated, self.document, self.candidates.uniform))
        self.table.model.show(found)
        self._show_why()

    def _show_in_place(self) -> None:
        self.controls.apply.setVisible(self.allocation is not None and not self.allocator.in_place)

    def _show_why(self) -> None:
        found, layer = self.allocation, self.document.current
        self.table.follow_document()
        if found is None or layer is None:
            self.why.setText("")
        elif layer.name in found.names:
            self.why.setText(why(found, found.names.index(layer.name)))
        else:
            self.why.setText(tr("{name} takes no part: it was not measured.", name=layer.name))

    def _say_problem(self, text: str) -> None:
        self.problem.setText(text)
        self.problem.setVisible(bool(text))

    def _recipe_changed(self) -> None:
        """A recipe that the budget did not make stays: what is asked of the budget is only looked at from now on."""
        if not self.allocator.in_place and self.allocator.only_look():
            self._ask(apply=False)
        if self.isVisible():
            self._show_in_place()

    def _checkpoint_changed(self) -> None:
        self.question.drop()
        self._wanted = None
        self.allocator.forget()
        self.candidates.forget()
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
