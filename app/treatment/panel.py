"""TREATMENT: what happens to the selected layers, edited field by field, live and with undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from PySide6.QtCore import QTimer, Signal
from PySide6.QtWidgets import QPushButton, QVBoxLayout, QWidget

from benchvise.app.engine.client import EngineClient
from benchvise.app.state.document import Document
from benchvise.app.state.setting_edits import edit_title, with_setting
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.treatment.what_if import WhatIfView
from benchvise.app.widgets.calm import CalmComboBox
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.app.widgets.field_editors import MIXED
from benchvise.app.widgets.form_panel import FormPanel
from benchvise.app.widgets.labels import labelled, wrapped
from benchvise.app.widgets.method_combo import MethodCombo
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message, tr
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.text import byte_text, kl_text, plural

REFRESH_DELAY_MS = 20
_AS_THEY_COME, _QUANTISED = "", "8"


class InspectorPanel(FormPanel):
    """Forms for scheme, solver and inputs of the selection, and its forecast.

    calibration_wanted: the person wants to see the text that a solver learns from.
    """

    title = message("Treatment")
    icon = "mdi6.tune-vertical"
    calibration_wanted = Signal()

    def __init__(self, document: Document, client: EngineClient, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.what_if = WhatIfView(document, client)
        self._chosen: tuple[int, ...] = ()
        self._treatments: tuple[Treatment, ...] = ()
        self.heading = ElidedLabel()
        self.heading.setFont(scaled(self.font(), 1.1, bold=True))
        self.what = ElidedLabel()
        self.what.setProperty("tone", "muted")
        self.scheme_combo = MethodCombo(tr("Scheme"), SCHEMES)
        self.solver_combo = MethodCombo(tr("Solver"), SOLVERS)
        self.inputs_combo = _inputs_combo()
        self.scheme_form, self.solver_form, self.inputs_form = SettingsForm(), SettingsForm(), SettingsForm()
        self.summary = wrapped("muted")
        self.solver_summary = wrapped("muted")
        self.calibration_button = QPushButton()
        self.forecast = wrapped()
        self.problem = wrapped("error")
        self.apply_button = QPushButton()
        self.apply_button.setProperty("primary", "true")
        self._lay_out()
        self._refresh_timer = QTimer(self, singleShot=True, interval=REFRESH_DELAY_MS)
        self._refresh_timer.timeout.connect(self.refresh)
        for signal in (
            document.selection_changed,
            document.recipe_changed,
            document.checkpoint_changed,
            document.trial_changed,
        ):
            signal.connect(self._refresh_timer.start)
        document.plan_changed.connect(self._show_forecast)
        document.sensitivity_changed.connect(self._show_forecast)
        self.scheme_combo.activated.connect(self._set_scheme)
        self.solver_combo.activated.connect(self._set_solver)
        self.scheme_form.edited.connect(self._set_scheme_field)
        self.solver_form.edited.connect(self._set_solver_field)
        self.inputs_combo.activated.connect(self._set_inputs)
        self.inputs_form.edited.connect(self._set_inputs_field)
        self.calibration_button.clicked.connect(self.calibration_wanted)
        self.apply_button.clicked.connect(self._apply_first_to_all)
        self.refresh()

    def _lay_out(self) -> None:
        self.column.addWidget(self.heading)
        self.column.addWidget(self.what)
        self._editing = QWidget()
        editing = QVBoxLayout(self._editing)
        editing.setContentsMargins(0, 0, 0, 0)
        editing.setSpacing(UNIT)
        editing.addWidget(self.what_if)
        editing.addLayout(labelled(tr("Scheme"), self.scheme_combo))
        editing.addWidget(self.summary)
        editing.addWidget(self.scheme_form)
        self._treating = QWidget()
        treating = QVBoxLayout(self._treating)
        treating.setContentsMargins(0, UNIT, 0, 0)
        treating.setSpacing(UNIT)
        treating.addLayout(labelled(tr("Solver"), self.solver_combo))
        treating.addWidget(self.solver_summary)
        treating.addWidget(self.solver_form)
        treating.addLayout(labelled(tr("Activations"), self.inputs_combo))
        treating.addWidget(self.inputs_form)
        treating.addWidget(self.calibration_button)
        editing.addWidget(self._treating)
        editing.addWidget(self.forecast)
        editing.addWidget(self.problem)
        editing.addWidget(self.apply_button)
        self.column.addWidget(self._editing)
        self.column.addStretch(1)

    def refresh(self) -> None:
        """Show the treatments of the selection as they are."""
        self._refresh_timer.stop()
        document = self._document
        layers = document.checkpoint.layers if document.checkpoint is not None else ()
        self._chosen = tuple(index for index in document.selection if layers[index].compressible)
        treatments = [document.treatment_of(index) for index in self._chosen]
        self._treatments = tuple(dict.fromkeys(treatments)) if document.trial is None else (document.trial,)
        self._show_heading()
        self._editing.setVisible(bool(self._chosen))
        if self._chosen:
            self._show_forms()
        self._show_forecast()

    def _show_heading(self) -> None:
        document = self._document
        selected, layer = len(document.selection), document.current
        if document.checkpoint is None or layer is None:
            self.heading.setText(tr("No layer is selected"))
            self.what.setText(tr("Select layers in the tree to treat them."))
            return
        if selected == 1:
            self.heading.setText(layer.name)
            shape = " × ".join(map(str, layer.shape)) or "scalar"
            self.what.setText(f"{layer.role} · {shape} · {layer.dtype} · {byte_text(layer.nbytes)}")
        else:
            self.heading.setText(tr("{layers} selected", layers=plural(selected, "layer")))
            roles = sorted({chosen.role for chosen in document.selected_layers()})
            self.what.setText(", ".join(roles[:4]) + (" …" if len(roles) > 4 else ""))
        if not self._chosen:
            self.what.setText(tr("Not a floating-point matrix: it stays as it is."))

    def _show_forms(self) -> None:
        schemes = [treatment.scheme for treatment in self._treatments]
        keys = {scheme.key for scheme in schemes}
        one = len(keys) == 1
        self.scheme_combo.show_key(schemes[0].key if one else None)
        self.summary.setText(tr(schemes[0].summary) if one else tr("The selected layers have different schemes."))
        self.scheme_form.show_instances(schemes if one else ())
        self.scheme_form.setVisible(one and bool(self.scheme_form.shown_fields))
        treated = [treatment for treatment in self._treatments if not treatment.keeps]
        self._treating.setVisible(bool(treated))
        if treated:
            self._show_solver(treated)
            self._show_inputs(treated)
            self._show_calibration(treated)
        mixed = len(self._treatments) > 1
        self.apply_button.setVisible(mixed)
        self.apply_button.setText(
            tr("Apply the first one's to all {layers}", layers=plural(len(self._chosen), "layer"))
        )
        self.apply_button.setToolTip(tr("Give all of them: {tag}", tag=self._treatments[0].tag))

    def _show_solver(self, treated: Sequence[Treatment]) -> None:
        solvers = [treatment.solver for treatment in treated]
        one = len({solver.key for solver in solvers}) == 1
        self.solver_combo.show_refusals(_refusals([treatment.scheme for treatment in treated]))
        self.solver_combo.show_key(solvers[0].key if one else None)
        self.solver_summary.setText(
            tr(solvers[0].summary) if one else tr("The selected layers have different solvers.")
        )
        capabilities = set[str]().union(*(treatment.scheme.capabilities for treatment in treated))
        self.solver_form.show_instances(solvers if one else (), capabilities)
        self.solver_form.setVisible(one and bool(self.solver_form.shown_fields))

    def _show_inputs(self, treated: Sequence[Treatment]) -> None:
        quantised = [treatment.activations for treatment in treated if treatment.activations is not None]
        uniform = len(quantised) in (0, len(treated))
        chosen = self.inputs_combo.findData(_QUANTISED if quantised else _AS_THEY_COME)
        self.inputs_combo.setCurrentIndex(chosen if uniform else -1)
        self.inputs_form.setVisible(uniform and bool(quantised))
        self.inputs_form.show_instances(quantised if uniform else ())

    def _show_calibration(self, treated: Sequence[Treatment]) -> None:
        """What is learned from, where something is, and the way to change it."""
        self.calibration_button.setVisible(any(treatment.needs_calibration for treatment in treated))
        calibration = self._document.recipe.calibration
        self.calibration_button.setText(
            tr("Learns from {samples} of text …", samples=plural(calibration.windows, "sample"))
        )
        self.calibration_button.setToolTip(
            tr("Learns from {in_words}. Shows the recipe's calibration.", in_words=calibration.in_words)
        )

    def _show_forecast(self) -> None:
        document = self._document
        plan, problem = document.plan, document.plan_problem
        self.problem.setVisible(problem is not None and document.trial is None)
        if problem is not None:
            self.problem.setText(f"{problem.what}. {problem.remedy}".strip())
        self.forecast.setVisible(document.trial is None)
        if plan is None or not self._chosen or document.checkpoint is None:
            self.forecast.setText("")
            return
        layers = [document.checkpoint.layers[index] for index in self._chosen]
        before = sum(layer.nbytes for layer in layers)
        after = int(plan.bytes_after[list(self._chosen)].sum())
        weights = sum(layer.parameters for layer in layers)
        size = byte_text(before) if before == after else f"{byte_text(before)} → {byte_text(after)}"
        parts = [size, tr("{after:.2f} bits per weight", after=8 * after / weights)]
        known = self._known_kl_increase(layers)
        if known:
            parts.append(known)
        self.forecast.setText(" · ".join(parts))

    def _known_kl_increase(self, layers: Sequence[Layer]) -> str:
        """The measured sensitivity of what is chosen, added up, when it is known for all of it."""
        cells = self._document.sensitivity
        if not cells:
            return ""
        keys = [self._document.treatment_of(index).key for index in self._chosen]
        found = [cells.get((layer.name, key)) for layer, key in zip(layers, keys, strict=True)]
        known = [cell.kl for cell in found if cell is not None]
        return tr("KL ≈ +{known}", known=kl_text(sum(known))) if len(known) == len(layers) else ""

    def _edit(self, change: Callable[[Treatment], Treatment], title: str, merge_key: str = "") -> None:
        """Change the treatment of every selected layer, as one undo step; while one is tried, that one alone."""
        document = self._document
        if document.trial is not None:
            document.try_out(change(document.trial))
            self.refresh()
            return
        changed = {treatment: change(treatment) for treatment in self._treatments}
        treatments = [changed[document.treatment_of(index)] for index in self._chosen]
        key = f"{merge_key} {hash(self._chosen)}" if merge_key else ""
        title = tr("{title} on {layers}", title=title, layers=plural(len(self._chosen), "layer"))
        document.treat(self._chosen, treatments, title, merge_key=key)
        self.refresh()

    def _set_scheme(self, row: int) -> None:
        kind = SCHEMES[self.scheme_combo.itemData(row)]
        refused: set[str] = set()

        def change(old: Treatment) -> Treatment:
            if isinstance(old.scheme, kind):
                return old
            scheme = kind()
            if not old.solver.refusal(scheme):
                return replace(old, scheme=scheme)
            refused.add(old.solver.title)
            return replace(old, scheme=scheme, solver=Nearest())

        for treatment in self._treatments:
            change(treatment)
        fallback = tr(" and solver to {title}", title=tr(Nearest.title)) if refused else ""
        self._edit(change, tr("Set scheme to {title}{fallback}", title=tr(kind.title), fallback=fallback))

    def _set_solver(self, row: int) -> None:
        kind = SOLVERS[self.solver_combo.itemData(row)]
        self._edit(
            lambda old: old if old.keeps or isinstance(old.solver, kind) else replace(old, solver=kind()),
            tr("Set solver to {title}", title=tr(kind.title)),
        )

    def _set_inputs(self, row: int) -> None:
        quantised = self.inputs_combo.itemData(row) == _QUANTISED

        def change(old: Treatment) -> Treatment:
            if old.keeps or quantised == (old.activations is not None):
                return old
            return replace(old, activations=Activations() if quantised else None)

        self._edit(change, tr("Quantise inputs to 8 bits") if quantised else tr("Leave inputs as they come"))

    def setting_labels(self) -> dict[str, str]:
        """Titles of the settings that the form shows now, by what `edit_setting` takes."""
        return {
            f"{number} {name}": tr(editor.declared.title)
            for number, form in enumerate((self.scheme_form, self.solver_form, self.inputs_form))
            for name, editor in form.editors.items()
            if name in form.shown_fields
        }

    def edit_setting(self, name: str) -> None:
        """Put the keyboard on the field of a setting."""
        number, _, field = name.partition(" ")
        (self.scheme_form, self.solver_form, self.inputs_form)[int(number)].editors[field].setFocus()

    def _set_scheme_field(self, name: str, value: object) -> None:
        kind = type(self._treatments[0].scheme)
        self._edit(
            lambda old: replace(old, scheme=with_setting(old.scheme, name, value)),
            edit_title(kind, name, value),
            f"scheme {name}",
        )

    def _set_solver_field(self, name: str, value: object) -> None:
        kind = next(type(treatment.solver) for treatment in self._treatments if not treatment.keeps)
        self._edit(
            lambda old: replace(old, solver=with_setting(old.solver, name, value)),
            edit_title(kind, name, value),
            f"solver {name}",
        )

    def _set_inputs_field(self, name: str, value: object) -> None:
        def change(old: Treatment) -> Treatment:
            changed = None if old.activations is None else with_setting(old.activations, name, value)
            return replace(old, activations=changed)

        self._edit(
            change, tr("Activations: {edit_title}", edit_title=edit_title(Activations, name, value)), f"inputs {name}"
        )

    def _apply_first_to_all(self) -> None:
        first = self._treatments[0]
        self._edit(lambda _: first, tr("Apply {tag}", tag=first.tag))


def _refusals(schemes: Sequence[Scheme]) -> dict[str, str]:
    """By solver, why it cannot serve one of the schemes; those that serve all are left out."""
    return {
        key: reason
        for key, kind in SOLVERS.items()
        if (reason := next((why for scheme in schemes if (why := kind().refusal(scheme))), ""))
    }


def _inputs_combo() -> CalmComboBox:
    combo = CalmComboBox()
    combo.setPlaceholderText(tr(MIXED))
    combo.setAccessibleName(tr("Activations"))
    combo.setToolTip(tr("How the layer's inputs are held while it runs"))
    combo.addItem(tr("Not quantised"), _AS_THEY_COME)
    combo.addItem(tr("8 bits"), _QUANTISED)
    return combo
