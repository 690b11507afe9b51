"""What is being worked on: checkpoint + recipe + what is known about them, with undo."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
from PySide6.QtCore import QObject, Signal
from PySide6.QtGui import QUndoStack

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.active_run import ActiveRun
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.state.finished_runs import FinishedRuns
from benchvise.app.state.latest_plan import LatestPlan
from benchvise.app.state.layer_arrival import Totals
from benchvise.app.state.opening import CheckpointOpening
from benchvise.app.state.sensitivity_results import Measurement, Sensitivities
from benchvise.app.state.undo import RecipeEdit, recipe_title
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.results import Allocated, Estimate, LayerCompressed, Planned, RunSummary, SensitivityCell
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.layer_matcher import block_count
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from benchvise.core.recipe.resolve import RuleLookup, turned_to_convolutions


class Document(QObject):
    """Checkpoint, recipe, plan, selection and results. Editing makes a new recipe; undo goes back to the previous one.

    `locked` are names of layers whose treatment no
    allocation changes. `trial` is a treatment that is tried on the one selected layer, the recipe untouched.
    `conditions` are those of which decode forecasts are made. `runtime` is who is to load the result, "" for anyone.
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
    runtime_changed = Signal()
    measuring_changed = Signal()

    def __init__(self, client: EngineClient, workspace: str = "", parent: QObject | None = None) -> None:
        super().__init__(parent)
        self.checkpoint: Checkpoint | None = None
        self.totals = Totals()
        self.recipe = Recipe()
        self.selection: tuple[int, ...] = ()
        self.locked: set[str] = set()
        self.trial: Treatment | None = None
        self.conditions = Conditions()
        self.runtime = ""
        self.allocated: Allocated | None = None
        self.workspace = workspace
        self.undo = QUndoStack(self)
        self.finished = FinishedRuns(client, workspace, self)
        self._opening = CheckpointOpening(client, self)
        self._plan = LatestPlan(client, self)
        self._active = ActiveRun(client, self.finished, self)
        self._sensitivities = Sensitivities(client, self)
        self._allocated_in_place = False
        self._resolution = self._looked_up(self.recipe)
        self._relay()

    def _relay(self) -> None:
        """What the parts of the document tell, it tells."""
        self.finished.listed.connect(self._on_listed)
        self._opening.changed.connect(self.opening_changed)
        self._opening.opened.connect(self._show)
        self._plan.changed.connect(self.plan_changed)
        self._active.changed.connect(self.active_run_changed)
        self._active.read.connect(self.active_run_read)
        self._active.layers_changed.connect(self.results_changed)
        self._sensitivities.changed.connect(self.sensitivity_changed)
        self._sensitivities.running_changed.connect(self.measuring_changed)

    @property
    def opening(self) -> str:
        """The path of what is being opened, "" for nothing."""
        return self._opening.path

    @property
    def plan(self) -> Planned | None:
        """The last one made."""
        return self._plan.plan

    @property
    def plan_is_current(self) -> bool:
        """Whether the plan belongs to the recipe as it is now."""
        return self._plan.current

    @property
    def plan_problem(self) -> Failed | None:
        """The refusal, when the recipe cannot be carried out."""
        return self._plan.problem

    @property
    def active_run(self) -> str:
        """The run whose results are shown, "" for none."""
        return self._active.run

    @property
    def results(self) -> dict[str, LayerCompressed]:
        """Layers of the active run, or of the run under way as they are finished, by name."""
        return self._active.layers

    @property
    def current(self) -> Layer | None:
        """The first selected layer."""
        if self.checkpoint is None or not self.selection:
            return None
        return self.checkpoint.layers[self.selection[0]]

    @property
    def sensitivity(self) -> dict[tuple[str, str], SensitivityCell]:
        """What is known of each layer × treatment (its key), measured or estimated."""
        return self._sensitivities.cells

    @property
    def measurement(self) -> Measurement | None:
        """The newest finished measurement of sensitivity."""
        return self._sensitivities.last

    @property
    def measuring(self) -> bool:
        """Whether sensitivities of the present checkpoint are being measured, whoever asked for them."""
        return bool(self._sensitivities.running)

    def stop_measuring(self) -> None:
        """Cancel what measures sensitivities; what is known by then stays."""
        self._sensitivities.stop()

    @property
    def predicted_kl(self) -> Estimate | None:
        """Estimated KL of the present recipe; None where no allocation made it."""
        return self.allocated.kl if self.allocated is not None and self._allocated_in_place else None

    @property
    def runs(self) -> tuple[RunSummary, ...]:
        """All runs of the workspace, the newest first."""
        return self.finished.summaries

    def own_runs(self) -> tuple[RunSummary, ...]:
        """Runs of the open checkpoint; sizes and divergences of different models cannot be compared."""
        return tuple(run for run in self.runs if self.checkpoint is not None and run.checkpoint == self.checkpoint.path)

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
        return self._opening.begin(path)

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

    def set_runtime(self, key: str) -> None:
        """Make the result for this runtime from now on; "" for any."""
        if key != self.runtime:
            self.runtime = key
            self.runtime_changed.emit()

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
        self._active.choose(run)

    def active_summary(self) -> RunSummary | None:
        return self._active.summary()

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
        """Keep results elsewhere from now on, and show what is kept there."""
        self.workspace = path
        self.set_active_run("")
        self.finished.move_to(path)
        self._sensitivities.forget()
        self._sensitivities.follow(self.checkpoint, path)

    def announce(self) -> None:
        """Tell everything once more: who comes late sees what is there."""
        for signal in (
            self.checkpoint_changed,
            self.recipe_changed,
            self.plan_changed,
            self.runs_changed,
            self.active_run_changed,
            self.results_changed,
            self.sensitivity_changed,
            self.locks_changed,
            self.selection_changed,
        ):
            signal.emit()

    def refresh_runs(self) -> None:
        """Ask for the list of runs anew; the present one stays until the answer arrives."""
        self.finished.refresh()

    def _on_listed(self, changed: bool) -> None:
        if changed:
            self.runs_changed.emit()

    def _looked_up(self, recipe: Recipe) -> RuleLookup:
        if self.checkpoint is None:
            return RuleLookup(recipe, 0)
        layers = self.checkpoint.layers
        return RuleLookup(replace(recipe, rules=turned_to_convolutions(recipe.rules, layers)), block_count(layers))

    def _put_recipe(self, recipe: Recipe) -> None:
        self.recipe = recipe
        self._resolution = self._looked_up(recipe)
        allocated, checkpoint = self.allocated, self.checkpoint
        self._allocated_in_place = allocated is not None and allocated.recipe == recipe
        if checkpoint is None:
            self.recipe_changed.emit()
        elif allocated is not None and self._allocated_in_place:
            self._plan.outdate()
            self.recipe_changed.emit()
            self._plan.put(checkpoint, recipe, allocated.planned)
        else:
            self._plan.ask_soon(checkpoint, recipe)
            self.recipe_changed.emit()

    def _show(self, checkpoint: Checkpoint | None, totals: Totals | None = None) -> None:
        self.checkpoint, self.totals = checkpoint, totals or Totals()
        self.selection = ()
        self.allocated, self._allocated_in_place = None, False
        for part in (self._plan, self._active, self._sensitivities):
            part.forget()
        self.lock(self.locked, locked=False)
        self.try_out(None)
        self.undo.clear()
        self.recipe = Recipe()
        self._resolution = self._looked_up(self.recipe)
        self.opening_changed.emit()
        self.checkpoint_changed.emit()
        self.recipe_changed.emit()
        self.selection_changed.emit()
        self._sensitivities.follow(checkpoint, self.workspace)
        self._active.follow(checkpoint)
        if checkpoint is not None:
            self._plan.ask_soon(checkpoint, self.recipe)
