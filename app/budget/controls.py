"""What can be said of a budget: its kind and value, what may be chosen, and what stays."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSignalBlocker, Qt, Signal
from PySide6.QtWidgets import QCheckBox, QHBoxLayout, QLabel, QPushButton, QSlider, QSpinBox, QVBoxLayout, QWidget

from benchvise.app.budget.kinds import KINDS, STEPS, BudgetKind, step_of, unit_of, value_at
from benchvise.app.state.decode_conditions import Conditions
from benchvise.app.widgets.calm import CalmComboBox, calm
from benchvise.app.widgets.checklist import CheckList, Entry
from benchvise.app.widgets.field_editors import SignificantBox
from benchvise.app.widgets.flow import FlowLayout
from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.language import tr
from benchvise.core.protocol.budget import BITS, LATENCY, MEMORY, Budget
from benchvise.core.protocol.results import Planned
from benchvise.core.text import plural

DEFAULT_BITS = 4.25
_MAX_CONTEXT = 10_000_000
_KIND_LETTERS = 15


class BudgetControls(QWidget):
    """dragged: another value of the budget; rules_changed: what may be chosen is another; kind_changed: the unit is.

    Values are in the budget's own unit; the field shows them in one that reads well.
    """

    dragged = Signal()
    rules_changed = Signal()
    kind_changed = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._low, self._high = 0.0, 1.0
        self._unit_size = 1.0
        self._values: dict[str, float] = {}
        self.kinds = CalmComboBox()
        self.kinds.setAccessibleName(tr("Kind of budget"))
        self.kinds.setMinimumContentsLength(_KIND_LETTERS)
        for kind in KINDS:
            self.kinds.addItem(tr(kind.title), kind.key)
            self.kinds.setItemData(self.kinds.count() - 1, tr(kind.help), Qt.ItemDataRole.ToolTipRole)
        self.slider = calm(QSlider(Qt.Orientation.Horizontal))
        self.slider.setRange(0, STEPS)
        self.slider.setPageStep(STEPS // 20)
        self.slider.setMinimumWidth(96)
        self.slider.setAccessibleName(tr("Budget"))
        self.field = SignificantBox()
        self.field.setKeyboardTracking(False)
        self.field.setAccessibleName(tr("Budget as a number"))
        self.field.setMinimumWidth(112)
        self.context = calm(QSpinBox())
        self.context.setRange(1, _MAX_CONTEXT)
        self.context.setValue(4096)
        self.context.setKeyboardTracking(False)
        self.context.setPrefix(tr("at "))
        self.context.setSuffix(tr(" tokens"))
        self.context.setAccessibleName(tr("Context length"))
        self.conditions = QPushButton()
        self.conditions.setAccessibleName(tr("Conditions of the decode time"))
        self.conditions.setToolTip(tr("For how many sequences, after how many tokens, and on which machine"))
        self.candidates = CheckList(
            tr("Candidates"), tr("Treatments that may be chosen; to keep a layer is always one more")
        )
        self.fused = QCheckBox(tr("Keep q/k/v and gate/up together"))
        self.fused.setToolTip(
            tr("Query, key and value get the same treatment, and so do gate and up: runtimes compute them in one piece")
        )
        self.unlock = QPushButton()
        self.measure = QPushButton(tr("Measure again"))
        self.measure.setToolTip(
            tr("Measure the candidates with the recipe's present solver; what is known is not repeated")
        )
        self.apply = QPushButton(tr("Apply"))
        self.apply.setProperty("primary", "true")
        self.apply.setToolTip(tr("Put the allocation that is shown in place: the recipe is another one now"))
        self._lay_out()
        self.kinds.currentIndexChanged.connect(self._kind_changed)
        self.slider.valueChanged.connect(self._slid)
        self.field.valueChanged.connect(self._typed)
        self.context.valueChanged.connect(lambda _: self.rules_changed.emit())
        self.candidates.changed.connect(self.rules_changed)
        self.fused.toggled.connect(lambda _: self.rules_changed.emit())
        self.context.hide()
        self.conditions.hide()
        self.apply.hide()
        self.show_locks(0)

    def _lay_out(self) -> None:
        target, rules = QHBoxLayout(), FlowLayout()
        label = QLabel(tr("Budget"))
        label.setBuddy(self.kinds)
        target.addWidget(label)
        target.addWidget(self.kinds)
        target.addWidget(self.slider, 1)
        target.addWidget(self.field)
        for widget in (
            self.context,
            self.conditions,
            self.candidates,
            self.fused,
            self.unlock,
            self.measure,
            self.apply,
        ):
            rules.addWidget(widget)
        column = QVBoxLayout(self)
        column.setContentsMargins(8, 8, 8, 0)
        column.setSpacing(8)
        column.addLayout(target)
        column.addLayout(rules)

    @property
    def kind(self) -> BudgetKind:
        return KINDS[self.kinds.currentIndex()]

    def budget(self) -> Budget:
        """What is asked for now."""
        context = self.context.value() if self.kind.key == MEMORY else 0
        return Budget(self.kind.key, self._value(), context)

    def begin(self, plan: Planned | None, checkpoint: Checkpoint) -> None:
        """Start where the recipe is, or at the default where it treats nothing."""
        bits = plan.bits_per_treated_weight if plan is not None and plan.treated_layers else DEFAULT_BITS
        self._values = {BITS: bits}
        if self.kind.key == BITS:
            self.show_budget(Budget(BITS, min(max(bits, self._low), self._high) if checkpoint.layers else bits))

    def offer(self, tags: Sequence[str]) -> None:
        """Candidates that were measured; those that were unchecked before stay so."""
        known, checked = set(self.candidates.texts()), set(self.candidates.checked())
        self.candidates.show_entries([Entry(tag, tag in checked or tag not in known) for tag in tags])

    def set_range(self, low: float, high: float) -> None:
        """Between which values the slider moves; the value stays, but is not outside."""
        value = self._values.get(self.kind.key, (low * high) ** 0.5)
        if (low, high) == (self._low, self._high) and self.kind.key in self._values:
            return
        self._low, self._high = low, high
        unit, self._unit_size = unit_of(self.kind.key, high)
        with QSignalBlocker(self.field):
            self.field.setRange(0.0, 1e18)
            self.field.setSuffix(f" {unit}")
            self.field.setSingleStep(_round_step((high - low) / 100 / self._unit_size))
        self._show_value(value)

    def show_budget(self, budget: Budget) -> None:
        """Show a budget of any kind without telling of a change."""
        with QSignalBlocker(self.kinds):
            self.kinds.setCurrentIndex(self.kinds.findData(budget.kind))
        self._show_fields(budget.kind)
        self._values[budget.kind] = budget.value
        self._unit_size = unit_of(budget.kind, max(budget.value, self._high))[1]
        self._show_value(budget.value)

    def show_locks(self, count: int) -> None:
        self.unlock.setVisible(count > 0)
        self.unlock.setText(tr("Include {layers} again", layers=plural(count, "layer")))
        self.unlock.setToolTip(tr("Excluded layers keep their treatment; exclude layers in the tree's or table's menu"))

    def forget(self, kind: str) -> None:
        """What was asked for in budgets of a kind no longer says anything; the middle of their range does next."""
        self._values.pop(kind, None)

    def show_conditions(self, conditions: Conditions) -> None:
        """Under which conditions decode times are meant."""
        self.conditions.setText(", ".join([conditions.amount] + [conditions.machine] * bool(conditions.machine)))

    def show_measuring(self, measuring: bool) -> None:
        self.measure.setText(tr("Cancel") if measuring else tr("Measure again"))

    def _value(self) -> float:
        return self._values.get(self.kind.key, self._low)

    def _show_value(self, value: float) -> None:
        self._values[self.kind.key] = value
        with QSignalBlocker(self.field), QSignalBlocker(self.slider):
            self.field.setValue(float(f"{value / self._unit_size:.5g}"))
            self.slider.setValue(step_of(value, self._low, self._high))

    def _slid(self, step: int) -> None:
        self._show_value(value_at(step, self._low, self._high))
        self.dragged.emit()

    def _typed(self, shown: float) -> None:
        self._values[self.kind.key] = shown * self._unit_size
        with QSignalBlocker(self.slider):
            self.slider.setValue(step_of(self._value(), self._low, self._high))
        self.dragged.emit()

    def _show_fields(self, kind: str) -> None:
        """What else a budget of the kind needs to be told."""
        self.context.setVisible(kind == MEMORY)
        self.conditions.setVisible(kind == LATENCY)

    def _kind_changed(self) -> None:
        self._show_fields(self.kind.key)
        self._low, self._high = 0.0, 0.0
        self.forget(self.kind.key)
        self.kind_changed.emit()


def _round_step(step: float) -> float:
    """A step of one significant digit."""
    return float(f"{step:.1g}") if step > 0 else 0.01
