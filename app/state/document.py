"""What is being worked on: checkpoint + recipe + what is known about them, with undo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, QTimer, Signal
from PySide6.QtGui import QUndoStack

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.state.finished_runs import FinishedRuns
from benchvise.app.state.layer_arrival import Arrival, Totals
from benchvise.app.state.sensitivity_results import Measured, Measurement
from benchvise.app.state.undo import RecipeEdit, recipe_title
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.protocol.events import Event, Failed, Finished, Partial, Started, Stopped
from benchvise.core.protocol.requests import Compress, KnownSensitivity, MakePlan, MeasureSensitivity, Open, Request
from benchvise.core.protocol.results import (
    Allocated,
    Estimate,
    LayerCompressed,
    Opened,
    Planned,
    Run,
    RunContent,
    RunSummary,
    Sensitivity,
    SensitivityCell,
)
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from benchvise.core.recipe.resolve import RuleLookup

PLAN_DELAY_MS = 60


class Document(QObject):
    """Checkpoint, recipe, plan, selection and results. Editing makes a new recipe; undo goes back to the previous one.

    plan is the last one made; `plan_is_current` says whether it belongs to the recipe as it is now, and
    `plan_problem` holds the refusal when the recipe cannot be carried out. `results` are the layers of the active
    run, or of the run under way as they are finished, by name. `locked` are names of layers whose treatment no
    allocation changes. `trial` is a treatment that is tried on the one selected layer, the recipe untouched.
    `conditions` are those of which decode forecasts are made.
    """

    checkpoint_changed = Signal()
    recipe_changed = Signal()
    plan_changed = Signal()
    selection_changed = Signal()
    sensitivity_changed = Signal()
    runs_changed = Signal()
    active_run_changed = Signal()
    active_run_read = Signal()
    results_changed = Signal()
    opening_changed = Signal()
    locks_changed = Signal()
    trial_changed = Signal()
    conditions_changed = Signal()
    measuring_changed = Signal()

    def __init__(self, client: EngineClient, workspace: str = "", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.checkpoint: Checkpoint | None = None
        self.recipe = Recipe()
        self.plan: Planned | None = None
        self.plan_is_current = False
        self.plan_problem: Failed | None = None
        self.selection: tuple[int, ...] = ()
        self.locked: set[str] = set()
        self.trial: Treatment | None = None
        self.conditions = Conditions()
        self.allocated: Allocated | None = None
        self.results: dict[str, LayerCompressed] = {}
        self.workspace = workspace
        self.active_run = ""
        self.opening = ""
        self.undo = QUndoStack(self)
        self.finished = FinishedRuns(client, workspace, self)
        self._client = client
        self.totals = Totals()
        self._measured = Measured()
        self._restoring = LatestRequest(client, self)
        self._allocated_in_place = False
        self._arrival = Arrival()
        self._plan_request = 0
        self._run_chosen = True
        self._compressing: dict[int, Compress] = {}
        self._resolution = RuleLookup(self.recipe)
        self._plan_timer = QTimer(self, singleShot=True, interval=PLAN_DELAY_MS)
        self._plan_timer.timeout.connect(self._ask_plan)
        self.finished.listed.connect(self._on_listed)
        self.finished.read.connect(self._on_read)
        client.asked.connect(self._on_asked)
        client.event.connect(self._on_event)

    @property
    def current(self) -> Layer | None:
        """The first selected layer."""
        if self.checkpoint is None or not self.selection:
            return None
        return self.checkpoint.layers[self.selection[0]]

    @property
    def sensitivity(self) -> dict[tuple[str, str], SensitivityCell]:
        """What is known of each layer × treatment (its key), measured or estimated."""
        return self._measured.cells

    @property
    def measurement(self) -> Measurement | None:
        """The newest finished measurement of sensitivity."""
        return self._measured.last

    @property
    def measuring(self) -> bool:
        """Whether sensitivities of the present checkpoint are being measured, whoever asked for them."""
        return bool(self._measured.running)

    def stop_measuring(self) -> None:
        """Cancel what measures sensitivities; what is known by then stays."""
        for number in self._measured.running:
            self._client.control(number, "cancel")

    @property
    def predicted_kl(self) -> Estimate | None:
        """Estimated KL of the present recipe; None where no allocation made it."""
        return self.allocated.kl if self.allocated is not None and self._allocated_in_place else None

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """All runs of the workspace, the newest first."""
        return self.finished.summaries

    @property
    def recipe_title(self) -> str:
        """The recipe's name, marked where it was edited; "" where it has none."""
        return recipe_title(self.recipe, self.undo)

    @property
    def modified(self) -> bool:
        """True when the recipe differs from the one that was last loaded or saved."""
        return not self.undo.isClean()

    def open(self, path: str) -> int:
        """Ask the engine to open a checkpoint; the present one stays until the new one is there."""
        self.opening = path
        self._arrival.end()
        arrival = self._arrival = Arrival()

        def opened(answer: Opened) -> None:
            if arrival is self._arrival:
                self._show(replace(answer.checkpoint, layers=tuple(arrival.layers)), arrival.totals)
                arrival.end()

        def failed(_: Failed) -> None:
            if arrival is self._arrival:
                self.opening = ""
                arrival.end()
                self.opening_changed.emit()

        number = self._client.ask(Open(path), done=opened, partial=arrival.take, failed=failed, owner=self)
        self.opening_changed.emit()
        return number

    def close_checkpoint(self) -> None:
        """Back to the start page."""
        self._show(None)

    def select(self, indices: Iterable[int]) -> None:
        """Select layers by their index in the checkpoint; the first is the current one."""
        selection = tuple(indices)
        if selection != self.selection:
            self.selection = selection
            self.try_out(None)
            self.selection_changed.emit()

    def try_out(self, treatment: Treatment | None) -> None:
        """Look at the selected layer as if it had another treatment, until another layer is selected; None ends it."""
        if treatment != self.trial:
            self.trial = treatment
            self.trial_changed.emit()

    def set_conditions(self, conditions: Conditions) -> None:
        """Forecast decoding under these conditions from now on."""
        if conditions != self.conditions:
            self.conditions = conditions
            self.conditions_changed.emit()

    def lock(self, names: Iterable[str], *, locked: bool) -> None:
        """Leave these layers' treatments to no allocation, or to every one again."""
        changed = self.locked | set(names) if locked else self.locked - set(names)
        if changed != self.locked:
            self.locked = changed
            self.locks_changed.emit()

    def selected_layers(self) -> tuple[Layer, ...]:
        if self.checkpoint is None:
            return ()
        layers = self.checkpoint.layers
        return tuple(layers[index] for index in self.selection)

    def treatment_of(self, index: int) -> Treatment:
        """What the recipe, as it is now, does to a layer."""
        assert self.checkpoint is not None
        return self._resolution.treatment_of(self.checkpoint.layers[index])

    def treat(
        self, indices: Sequence[int], treatments: Sequence[Treatment], title: str, *, merge_key: str = ""
    ) -> None:
        """Give `treatments[i]` to layer `indices[i]`, as one undo step."""
        if self.checkpoint is None:
            return
        layers = [self.checkpoint.layers[index] for index in indices]
        self.set_recipe(treat(self.recipe, layers, treatments), title, merge_key=merge_key)

    def set_recipe(self, recipe: Recipe, title: str, *, merge_key: str = "") -> None:
        """Put another recipe in place, as one undo step."""
        if recipe != self.recipe:
            self.undo.push(RecipeEdit(self._put_recipe, self.recipe, recipe, title, merge_key))

    def put_allocation(self, allocated: Allocated, title: str, *, merge_key: str = "") -> None:
        """Put an allocation's recipe in place, as one undo step, with the plan that came with it."""
        self.allocated = allocated
        if allocated.recipe == self.recipe:
            self._put_recipe(self.recipe)
        else:
            self.set_recipe(allocated.recipe, title, merge_key=merge_key)

    def set_active_run(self, run: str) -> None:
        """Choose the run whose results are shown as "after"; what the engine has not told of it yet follows."""
        self._run_chosen = True
        if run != self.active_run:
            self.active_run = run
            self._set_results(self.finished.layers_of(run))
            self.active_run_changed.emit()
            self.finished.request_content(run)

    def active_summary(self) -> RunSummary | None:
        return next((summary for summary in self.runs if summary.run == self.active_run), None)

    def active_run_is_current(self) -> bool:
        """True when the active run carried out exactly the recipe as it is now."""
        recipe = self.finished.recipe_of(self.active_run) if self.active_run else None
        return recipe is not None and recipe.digest == self.recipe.digest

    def changed_since_run(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]] | None:
        """bool [layers]: whether a treatment differs from the active run's; None without a run or a plan."""
        if self.checkpoint is None or self.plan is None or not self.active_run:
            return None
        done = self.finished.treatments_of(self.active_run)
        if done is None:
            return None
        keys = [self.plan.keys[choice] for choice in self.plan.choice]
        names = [layer.name for layer in self.checkpoint.layers]
        return np.fromiter((key != done.get(name, KEEP.key) for key, name in zip(keys, names, strict=True)), bool)

    def set_workspace(self, path: str) -> None:
        """Keep results elsewhere from now on."""
        self.workspace = path
        self.set_active_run("")
        self.finished.move_to(path)

    def refresh_runs(self) -> None:
        """Ask for the list of runs anew; the present one stays until the answer arrives."""
        self.finished.refresh()

    def _on_listed(self, changed: bool) -> None:
        if changed:
            self.runs_changed.emit()
        self._activate_newest_run()

    def _on_read(self, run: str) -> None:
        if run == self.active_run:
            self._set_results(self.finished.layers_of(run))
            self.active_run_read.emit()

    def _activate_newest_run(self) -> None:
        """After opening a checkpoint, show what its newest run made of it, unless a run was chosen since."""
        if self._run_chosen or self.checkpoint is None:
            return
        path = self.checkpoint.path
        newest = next((run.run for run in self.runs if run.checkpoint == path and run.state == "done"), "")
        if newest:
            self.set_active_run(newest)

    def _put_recipe(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._resolution = RuleLookup(recipe)
        self.plan_is_current = False
        self._allocated_in_place = self.allocated is not None and self.allocated.recipe == recipe
        self.recipe_changed.emit()
        if self.allocated is not None and self._allocated_in_place:
            self._plan_timer.stop()
            self._planned(self.allocated.planned)
        else:
            self._plan_timer.start()

    def _ask_plan(self) -> None:
        if self.checkpoint is None:
            return
        if self._plan_request:
            self._client.control(self._plan_request, "cancel")
        recipe = self.recipe

        def planned(plan: Planned) -> None:
            if recipe == self.recipe:
                self._planned(plan)

        def refused(failure: Failed) -> None:
            if recipe == self.recipe:
                self._plan_refused(failure)

        request = MakePlan(self.checkpoint.path, recipe)
        self._plan_request = self._client.ask(request, done=planned, failed=refused, owner=self)

    def _planned(self, plan: Planned) -> None:
        if self.checkpoint is None or len(plan.choice) != len(self.checkpoint.layers):
            return
        self.plan, self.plan_problem, self.plan_is_current = plan, None, True
        self.plan_changed.emit()

    def _plan_refused(self, failure: Failed) -> None:
        self.plan_problem = failure
        self.plan_changed.emit()

    def _show(self, checkpoint: Checkpoint | None, totals: Totals | None = None) -> None:
        self.checkpoint, self.opening = checkpoint, ""
        self.totals = totals or Totals()
        self.plan, self.plan_problem, self.plan_is_current = None, None, False
        self.selection, self.active_run = (), ""
        self._measured.forget()
        self.allocated, self._allocated_in_place = None, False
        self.lock(self.locked, locked=False)
        self.try_out(None)
        self.undo.clear()
        self.recipe = Recipe()
        self._resolution = RuleLookup(self.recipe)
        self.opening_changed.emit()
        self.checkpoint_changed.emit()
        self.recipe_changed.emit()
        self.selection_changed.emit()
        self.sensitivity_changed.emit()
        self.measuring_changed.emit()
        self._set_results(None)
        self.active_run_changed.emit()
        self._run_chosen = False
        self._activate_newest_run()
        self._restoring.drop()
        if checkpoint is not None:
            self._plan_timer.start()
            self._restoring.ask([KnownSensitivity(checkpoint.path, self.workspace)], self._restore, self._keep_measured)

    def _restore(self, _: int, sensitivity: Sensitivity) -> None:
        if self._measured.restore(sensitivity):
            self.sensitivity_changed.emit()

    def _keep_measured(self, _: int, failure: Failed) -> None:
        """Nothing is shown; Problems tells what failed."""

    def _set_results(self, results: dict[str, LayerCompressed] | None) -> None:
        self.results = dict(results or {})
        self.results_changed.emit()

    def _on_asked(self, number: int, request: Request) -> None:
        if isinstance(request, Compress):
            self._compressing[number] = request
        elif isinstance(request, MeasureSensitivity) and self.checkpoint and request.path == self.checkpoint.path:
            self._measured.begin(number, request)
            self.measuring_changed.emit()

    def _on_compression(self, event: Event) -> None:
        """The present checkpoint's layers as they are finished."""
        if self.checkpoint is None or self._compressing[event.request].path != self.checkpoint.path:
            return
        if isinstance(event, Started):
            self._set_results(None)
        elif isinstance(event, Partial) and isinstance(event.record, LayerCompressed):
            self.results[event.record.source or event.record.name] = event.record
            self.results_changed.emit()

    def _on_event(self, event: Event) -> None:
        if event.request in self._compressing:
            self._on_compression(event)
        if isinstance(event, Partial) and isinstance(event.record, SensitivityCell):
            if self._measured.add(event.request, (event.record,)):
                self.sensitivity_changed.emit()
        elif isinstance(event, Finished):
            if isinstance(event.result, Sensitivity):
                if self._measured.finish(event.request, event.result):
                    self.sensitivity_changed.emit()
            elif isinstance(event.result, Run):
                self._on_run(event.result, self._compressing.get(event.request))
        if isinstance(event, Failed | Stopped) and event.request in self._compressing:
            self.refresh_runs()
        if isinstance(event, Finished | Failed | Stopped) and self._measured.end(event.request):
            self.measuring_changed.emit()

    def _on_run(self, run: Run, asked: Compress | None) -> None:
        if asked is not None and asked.workspace == self.workspace:
            self.finished.take(RunContent(run.run, asked.recipe, run.layers))
        self.refresh_runs()
        self.set_active_run(run.run)
