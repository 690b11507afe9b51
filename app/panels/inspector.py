"""TREATMENT: what happens to the selected layers, edited field by field, live and with undo."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from PySide6.QtCore import Qt, QTimer
from PySide6.QtGui import QFontDatabase, QGuiApplication
from PySide6.QtWidgets import (
    QFormLayout,
    QHBoxLayout,
    QLabel,
    QPlainTextEdit,
    QPushButton,
    QScrollArea,
    QToolButton,
    QVBoxLayout,
    QWidget,
)

from app.document import Document
from app.figures import byte_text, kl_text, plural
from app.theme.appearance import UNIT, scaled
from app.theme.icons import icon
from app.widgets.elided_label import ElidedLabel
from app.widgets.field_editors import MIXED, CalmComboBox
from app.widgets.section import Section
from app.widgets.settings_form import SettingsForm
from core.checkpoint.records import Layer
from core.methods.registry import SCHEMES, SOLVERS
from core.recipe.recipe import Treatment
from core.settings import settings_of

REFRESH_DELAY_MS = 20
LEAST_WIDTH = 284
_MOST_YAML = 20_000
_LEAST_LINES = 8


class InspectorPanel(QWidget):
    """Forms for scheme and solver of the selection, its forecast, and the recipe's rules."""

    title = "Treatment"
    icon = "mdi6.tune-vertical"

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._chosen: tuple[int, ...] = ()
        self._treatments: tuple[Treatment, ...] = ()
        self.heading = ElidedLabel()
        self.heading.setFont(scaled(self.font(), 1.1, bold=True))
        self.what = ElidedLabel()
        self.what.setProperty("tone", "muted")
        self.scheme_combo = _method_combo("Scheme", SCHEMES)
        self.solver_combo = _method_combo("Solver", SOLVERS)
        self.scheme_form, self.solver_form = SettingsForm(), SettingsForm()
        self.summary = _wrapped("muted")
        self.forecast = _wrapped("")
        self.problem = _wrapped("error")
        self.apply_button = QPushButton()
        self.apply_button.setProperty("primary", "true")
        self.rules = RulesView(document)
        self._lay_out()
        self._refresh_timer = QTimer(self, singleShot=True, interval=REFRESH_DELAY_MS)
        self._refresh_timer.timeout.connect(self.refresh)
        for signal in (document.selection_changed, document.recipe_changed, document.checkpoint_changed):
            signal.connect(self._refresh_timer.start)
        document.plan_changed.connect(self._show_forecast)
        document.sensitivity_changed.connect(self._show_forecast)
        self.scheme_combo.activated.connect(self._set_scheme)
        self.solver_combo.activated.connect(self._set_solver)
        self.scheme_form.edited.connect(self._set_scheme_field)
        self.solver_form.edited.connect(self._set_solver_field)
        self.apply_button.clicked.connect(self._make_alike)
        self.refresh()

    def _lay_out(self) -> None:
        inner = QWidget()
        inner.setProperty("surface", "panel")
        column = QVBoxLayout(inner)
        column.setContentsMargins(2 * UNIT, UNIT, 2 * UNIT, 2 * UNIT)
        column.setSpacing(UNIT)
        column.addWidget(self.heading)
        column.addWidget(self.what)
        self._editing = QWidget()
        editing = QVBoxLayout(self._editing)
        editing.setContentsMargins(0, 0, 0, 0)
        editing.setSpacing(UNIT)
        editing.addLayout(_labelled("Scheme", self.scheme_combo))
        editing.addWidget(self.summary)
        editing.addWidget(self.scheme_form)
        self._solver_row = QWidget()
        self._solver_row.setLayout(_labelled("Solver", self.solver_combo))
        editing.addWidget(self._solver_row)
        editing.addWidget(self.solver_form)
        editing.addWidget(self.forecast)
        editing.addWidget(self.problem)
        editing.addWidget(self.apply_button)
        column.addWidget(self._editing)
        column.addWidget(Section("Recipe", self.rules), 1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        self.setMinimumWidth(LEAST_WIDTH)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(0, 0, 0, 0)
        outer.addWidget(scroll)

    def refresh(self) -> None:
        """Show the treatments of the selection as they are."""
        self._refresh_timer.stop()
        document = self._document
        layers = document.checkpoint.layers if document.checkpoint is not None else ()
        self._chosen = tuple(index for index in document.selection if layers[index].compressible)
        treatments = [document.treatment_of(index) for index in self._chosen]
        self._treatments = tuple(dict.fromkeys(treatments))
        self._show_heading()
        self._editing.setVisible(bool(self._chosen))
        if self._chosen:
            self._show_forms()
        self._show_forecast()

    def _show_heading(self) -> None:
        document = self._document
        selected, layer = len(document.selection), document.current
        if document.checkpoint is None or layer is None:
            self.heading.setText("No layer is selected")
            self.what.setText("Select layers in the tree to treat them.")
            return
        if selected == 1:
            self.heading.setText(layer.name)
            shape = " × ".join(map(str, layer.shape)) or "scalar"
            self.what.setText(f"{layer.role} · {shape} · {layer.dtype} · {byte_text(layer.nbytes)}")
        else:
            self.heading.setText(f"{plural(selected, 'layer')} selected")
            roles = sorted({chosen.role for chosen in document.selected_layers()})
            self.what.setText(", ".join(roles[:4]) + (" …" if len(roles) > 4 else ""))
        if not self._chosen:
            self.what.setText("Not a floating-point matrix: it stays as it is.")

    def _show_forms(self) -> None:
        schemes = [treatment.scheme for treatment in self._treatments]
        solvers = [treatment.solver for treatment in self._treatments]
        keys = {scheme.key for scheme in schemes}
        one = len(keys) == 1
        self.scheme_combo.setCurrentIndex(self.scheme_combo.findData(schemes[0].key) if one else -1)
        self.summary.setText(schemes[0].summary if one else "The selected layers have different schemes.")
        self.scheme_form.show_instances(schemes if one else ())
        treated = [solver for scheme, solver in zip(schemes, solvers, strict=True) if scheme.key != "keep"]
        one_solver = len({solver.key for solver in treated}) == 1
        self._solver_row.setVisible(bool(treated))
        self.solver_combo.setCurrentIndex(self.solver_combo.findData(treated[0].key) if one_solver else -1)
        capabilities = set[str]().union(*(scheme.capabilities for scheme in schemes))
        self.solver_form.show_instances(treated if one_solver else (), capabilities)
        self.solver_form.setVisible(one_solver and bool(self.solver_form.shown_fields))
        self.scheme_form.setVisible(one and bool(self.scheme_form.shown_fields))
        mixed = len(self._treatments) > 1
        self.apply_button.setVisible(mixed)
        self.apply_button.setText(f"Apply the first one's to all {plural(len(self._chosen), 'layer')}")
        self.apply_button.setToolTip(f"Give all of them: {self._treatments[0].tag}")

    def _show_forecast(self) -> None:
        document = self._document
        plan, problem = document.plan, document.plan_problem
        self.problem.setVisible(problem is not None)
        if problem is not None:
            self.problem.setText(f"{problem.what}. {problem.remedy}".strip())
        if plan is None or not self._chosen or document.checkpoint is None:
            self.forecast.setText("")
            return
        layers = [document.checkpoint.layers[index] for index in self._chosen]
        before = sum(layer.nbytes for layer in layers)
        after = int(plan.bytes_after[list(self._chosen)].sum())
        weights = sum(layer.parameters for layer in layers)
        size = byte_text(before) if before == after else f"{byte_text(before)} → {byte_text(after)}"
        parts = [size, f"{8 * after / weights:.2f} bits per weight"]
        known = self._known_damage(layers)
        if known:
            parts.append(known)
        self.forecast.setText(" · ".join(parts))

    def _known_damage(self, layers: Sequence[Layer]) -> str:
        """The measured sensitivity of what is chosen, added up, when it is known for all of it."""
        cells = self._document.sensitivity
        if not cells:
            return ""
        tags = [self._document.treatment_of(index).tag for index in self._chosen]
        found = [cells.get((layer.name, tag)) for layer, tag in zip(layers, tags, strict=True)]
        known = [cell.kl for cell in found if cell is not None]
        return f"KL ≈ +{kl_text(sum(known))}" if len(known) == len(layers) else ""

    def _edit(self, change: Callable[[Treatment], Treatment], title: str, merge_key: str = "") -> None:
        """Change the treatment of every selected layer, as one undo step."""
        document = self._document
        changed = {treatment: change(treatment) for treatment in self._treatments}
        treatments = [changed[document.treatment_of(index)] for index in self._chosen]
        key = f"{merge_key} {hash(self._chosen)}" if merge_key else ""
        title = f"{title} on {plural(len(self._chosen), 'layer')}"
        document.treat(self._chosen, treatments, title, merge_key=key)
        self.refresh()

    def _set_scheme(self, row: int) -> None:
        kind = SCHEMES[self.scheme_combo.itemData(row)]
        self._edit(
            lambda old: old if isinstance(old.scheme, kind) else replace(old, scheme=kind()),
            f"Set scheme to {kind.title}",
        )

    def _set_solver(self, row: int) -> None:
        kind = SOLVERS[self.solver_combo.itemData(row)]
        self._edit(
            lambda old: old if isinstance(old.solver, kind) else replace(old, solver=kind()),
            f"Set solver to {kind.title}",
        )

    def _set_scheme_field(self, name: str, value: object) -> None:
        kind = type(self._treatments[0].scheme)
        self._edit(
            lambda old: replace(old, scheme=_with(old.scheme, name, value)), _edit_title(kind, name, value), name
        )

    def _set_solver_field(self, name: str, value: object) -> None:
        kind = type(self._treatments[-1].solver)
        self._edit(
            lambda old: replace(old, solver=_with(old.solver, name, value)), _edit_title(kind, name, value), name
        )

    def _make_alike(self) -> None:
        first = self._treatments[0]
        self._edit(lambda _: first, f"Apply {first.tag}")


class RulesView(QWidget):
    """The recipe as YAML, to read and to copy."""

    def __init__(self, document: Document, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self.text = QPlainTextEdit(readOnly=True)
        self.text.setFont(QFontDatabase.systemFont(QFontDatabase.SystemFont.FixedFont))
        self.text.setLineWrapMode(QPlainTextEdit.LineWrapMode.NoWrap)
        lines = _LEAST_LINES * self.text.fontMetrics().lineSpacing()
        self.text.setMinimumHeight(lines + 4 * UNIT)
        self.text.setAccessibleName("The recipe as YAML")
        self._said = ElidedLabel()
        self._said.setProperty("tone", "muted")
        copy = QToolButton()
        copy.setIcon(icon("mdi6.content-copy"))
        copy.setToolTip("Copy the recipe as YAML")
        copy.setAccessibleName("Copy the recipe")
        copy.clicked.connect(lambda: QGuiApplication.clipboard().setText(document.recipe.to_yaml()))
        top = QHBoxLayout()
        top.addWidget(self._said, 1)
        top.addWidget(copy)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(4)
        layout.addLayout(top)
        layout.addWidget(self.text)
        document.recipe_changed.connect(self._show)
        self._show()

    def _show(self) -> None:
        recipe = self._document.recipe
        name = f"{recipe.name}: " if recipe.name else ""
        self._said.setText(f"{name}{plural(len(recipe.rules), 'rule')}; the last that matches decides")
        text = recipe.to_yaml()
        if len(text) > _MOST_YAML:
            text = f"{text[:_MOST_YAML]}\n… (copy for the whole recipe)"
        if text != self.text.toPlainText():
            self.text.setPlainText(text)


def _with(instance: Any, name: str, value: object) -> Any:
    """The settings with one field changed, where they have such a field."""
    return replace(instance, **{name: value}) if hasattr(instance, name) else instance


def _edit_title(kind: type[object], name: str, value: object) -> str:
    declared = next(declared for declared in settings_of(kind) if declared.name == name)
    shown = dict(declared.choices).get(str(value), value) if declared.choices else value
    if isinstance(value, bool):
        return f"Switch {declared.title.lower()} {'on' if value else 'off'}"
    return f"Set {declared.title.lower()} to {shown}"


def _method_combo(title: str, methods: dict[str, Any]) -> CalmComboBox:
    combo = CalmComboBox()
    combo.setPlaceholderText(MIXED)
    combo.setAccessibleName(title)
    for key, kind in methods.items():
        combo.addItem(kind.title, key)
        combo.setItemData(combo.count() - 1, kind.summary, Qt.ItemDataRole.ToolTipRole)
    return combo


def _labelled(text: str, field: QWidget) -> QFormLayout:
    form = QFormLayout()
    form.setContentsMargins(0, 0, 0, 0)
    form.setHorizontalSpacing(12)
    form.setLabelAlignment(Qt.AlignmentFlag.AlignVCenter)
    form.setFieldGrowthPolicy(QFormLayout.FieldGrowthPolicy.AllNonFixedFieldsGrow)
    label = QLabel(text)
    label.setBuddy(field)
    label.setMinimumWidth(96)
    form.addRow(label, field)
    return form


def _wrapped(tone: str) -> QLabel:
    label = QLabel(wordWrap=True)
    label.setTextFormat(Qt.TextFormat.PlainText)
    if tone:
        label.setProperty("tone", tone)
    label.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
    return label
