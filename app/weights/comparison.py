"""What a layer is compared with: what is planned or tried for it, what a run made of it, or nothing."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from benchvise.app.plots.controls import Controls
from benchvise.core.language import tr
from benchvise.core.methods.surgery import Surgery
from benchvise.core.recipe.fitting import name_on
from benchvise.core.recipe.recipe import Treatment

if TYPE_CHECKING:
    from benchvise.app.state.document import Document

PLANNED, RUN, NOTHING = "planned", "run", "nothing"


class ComparisonChoice:
    """A choice box over the three, and what it means for the engine."""

    def __init__(self, controls: Controls, document: Document) -> None:
        self._document = document
        self.box = controls.choice(
            tr("After"),
            tr("What is drawn as “after”: the planned treatment is tried on the layer at once, without a run"),
            ((tr("Planned treatment"), PLANNED), (tr("Active run"), RUN), (tr("Nothing"), NOTHING)),
        )

    def after(self, index: int) -> Treatment | str | None:
        """What `Look` and `LookMap` take as `after` for the layer at `index`."""
        chosen = self.box.currentData()
        if chosen == RUN:
            return f"run:{self._document.active_run}" if self._document.active_run else None
        if chosen == PLANNED:
            trial = self._document.trial
            treatment = self._document.treatment_of(index) if trial is None else trial
            return None if treatment.keeps else treatment
        return None

    def surgery(self) -> tuple[Surgery, ...]:
        """What `Look` and `LookMap` take as `surgery`: that of the recipe, where its treatment is looked at."""
        return self._document.recipe.surgery if self.box.currentData() == PLANNED else ()

    def missing(self, index: int) -> str:
        """Why there is no "after" although one was chosen; "" when there is one or none is wanted."""
        if self.after(index) is not None or self.box.currentData() == NOTHING:
            return ""
        if self.box.currentData() == RUN:
            return tr("No run is active: choose one under Runs or Compare.")
        if self.surgery():
            return tr("What the recipe's surgery leaves of the layer.")
        return tr("The layer stays as it is: give it a treatment to see what it does.")

    def remark(self, index: int) -> str:
        """What has to be known about what is drawn as "after"; "" for nothing."""
        after = self.after(index)
        if not isinstance(after, Treatment):
            return self.missing(index)
        recipe = self._document.recipe
        left_out = []
        if after.needs_calibration:
            left_out.append(tr("calibration text"))
        if recipe.transforms:
            left_out.append(tr("the recipe's transforms"))
        if recipe.tuning:
            left_out.append("tuning")
        said = (
            [tr("What if: tried on this layer, the recipe stays as it is.")] if self._document.trial is not None else []
        )
        if self.surgery():
            said.append(tr("Both are what the recipe's surgery leaves of the layer."))
        if left_out:
            said.append(tr("Tried on the weight alone; only a run brings in {names}.", names=" and ".join(left_out)))
        return " ".join(said)

    def label(self, index: int) -> str:
        """What "after" is called in legends: a planned treatment as the tree calls it, a tried one with a "?"."""
        after, checkpoint = self.after(index), self._document.checkpoint
        if isinstance(after, Treatment) and checkpoint is not None:
            name = name_on(after, checkpoint.layers[index], runs=bool(checkpoint.architecture))
            return name if self._document.trial is None else f"{name}?"
        assert not isinstance(after, Treatment)
        return after.removeprefix("run:") if after else ""

    def listen(self, refresh: Callable[[], object]) -> None:
        """Call `refresh` whenever what it means may have changed."""
        self._document.recipe_changed.connect(refresh)
        self._document.active_run_changed.connect(refresh)
        self._document.trial_changed.connect(refresh)
