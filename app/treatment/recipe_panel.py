"""RECIPE: what is done to the whole network beside the treatment of its layers."""

from __future__ import annotations

from PySide6.QtWidgets import QVBoxLayout, QWidget

from benchvise.app.state.document import Document
from benchvise.app.state.setting_edits import edit_title, with_setting
from benchvise.app.theme.appearance import UNIT
from benchvise.app.treatment.recipe_rules import RulesView
from benchvise.app.treatment.recipe_stage import SURGERY, TRANSFORM, TUNING, StageView
from benchvise.app.widgets.form_panel import FormPanel
from benchvise.app.widgets.labels import wrapped
from benchvise.app.widgets.section import Section
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.language import message, tr
from benchvise.core.methods.calibration import Calibration
from benchvise.core.recipe.editing import set_calibration
from benchvise.core.recipe.recipe import Recipe


class RecipePanel(FormPanel):
    """The recipe's stages in their order, the text that they learn from, and the rules as YAML."""

    title = message("Recipe")
    icon = "mdi6.script-text-outline"

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.surgery = StageView(document, SURGERY)
        self.transforms = StageView(document, TRANSFORM)
        self.calibration = CalibrationView(document)
        self.tuning = StageView(document, TUNING)
        self.rules = RulesView(document)
        for stage, view in ((SURGERY, self.surgery), (TRANSFORM, self.transforms), (TUNING, self.tuning)):
            self.column.addWidget(Section(tr(stage.title), view))
        self.column.addWidget(Section(tr("Calibration"), self.calibration))
        self.column.addWidget(Section(tr("Rules"), self.rules), 1)


class CalibrationView(QWidget):
    """The text that activations are learned from, and what in the recipe learns from it."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.said = wrapped("muted")
        self.form = SettingsForm()
        self.form.edited.connect(self._edit)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, UNIT)
        layout.setSpacing(UNIT)
        layout.addWidget(self.said)
        layout.addWidget(self.form)
        document.recipe_changed.connect(self.refresh)
        document.checkpoint_changed.connect(self.refresh)
        self.refresh()

    def refresh(self) -> None:
        recipe = self._document.recipe
        self.form.show_instances((recipe.calibration,))
        learners = learners_of(recipe)
        self.said.setText(
            tr("Read by: {names}.", names=", ".join(learners))
            if learners
            else tr("No method in this recipe uses calibration text; error feedback and AWQ do.")
        )
        self.setEnabled(self._document.checkpoint is not None)

    def _edit(self, name: str, value: object) -> None:
        recipe = self._document.recipe
        changed = with_setting(recipe.calibration, name, value)
        title = tr("Calibration: {edit_title}", edit_title=edit_title(Calibration, name, value))
        self._document.set_recipe(set_calibration(recipe, changed), title, merge_key=f"calibration {name}")


def learners_of(recipe: Recipe) -> tuple[str, ...]:
    """Everything in the recipe that learns from calibration text, in the order of the work."""
    found = [tr(transform.title) for transform in recipe.transforms if transform.reach == "block"]
    for rule in recipe.rules:
        treatment = rule.treatment
        if not treatment.keeps and treatment.solver.needs(treatment.scheme) != "weights":
            found.append(tr(treatment.solver.title))
        if treatment.activations is not None and treatment.activations.needs_calibration:
            found.append(tr("fixed scales of inputs"))
    found += [tr(step.title) for step in recipe.tuning]
    return tuple(dict.fromkeys(found))
