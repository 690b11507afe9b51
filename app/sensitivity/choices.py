"""What is measured: which treatments, by which method, on which text."""

from __future__ import annotations

from pathlib import Path

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QDoubleSpinBox, QFileDialog, QMenu, QPushButton, QVBoxLayout, QWidget

from benchvise.app.state.candidate_treatments import offered
from benchvise.app.widgets.calm import CalmComboBox, calm
from benchvise.app.widgets.checklist import CheckList, Entry
from benchvise.app.widgets.flow import FlowLayout
from benchvise.core.errors import RecipeError
from benchvise.core.language import message, tr
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.recipe.recipe import Recipe, Treatment
from benchvise.core.recipe.treatment_text import parse_treatment_text

_WIDEST_METHOD = 240
AT_FIRST = ("int8 channel", "int4 g128", "int3 g64")
"""The treatments that are measured unless others are chosen."""

METHODS = (
    (
        message("Measured one by one"),
        "enable_one",
        message("Each layer alone is treated: one short forward pass per cell. Exact."),
    ),
    (
        message("Spared one by one"),
        "disable_one",
        message("All layers are treated, and what sparing one of them wins back is counted. Exact."),
    ),
    (
        message("Estimated from gradients"),
        "fisher",
        message("One backward pass estimates all cells. Quick, and a forecast."),
    ),
    (
        message("As good as time allows"),
        "auto",
        message("All cells are estimated, then those of the largest KL increase measured as long as the seconds last."),
    ),
)


class SensitivityChoices(QWidget):
    """One row. measure: the button was pressed, to begin or to cancel."""

    measure = Signal()

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._more: list[Treatment] = []
        self._recipe = Recipe()
        self.text = ""
        self.treatments = CheckList(
            tr("Treatments"), tr("Which treatments are measured"), add_hint=tr("Add one, such as int5 g64")
        )
        self.treatments.added.connect(self._add)
        self.method = CalmComboBox()
        self.method.setAccessibleName(tr("Method"))
        self.method.setMaximumWidth(_WIDEST_METHOD)
        for row, (title, key, help_text) in enumerate(METHODS):
            self.method.addItem(tr(title), key)
            self.method.setItemData(row, tr(help_text), Qt.ItemDataRole.ToolTipRole)
        self.method.currentIndexChanged.connect(self._method_changed)
        self.seconds = calm(QDoubleSpinBox())
        self.seconds.setRange(1, 86_400)
        self.seconds.setDecimals(0)
        self.seconds.setValue(60)
        self.seconds.setSuffix(" s")
        self.seconds.setAccessibleName(tr("Seconds"))
        self.seconds.setToolTip(tr("How long measuring may take"))
        self.more = QPushButton(tr("More"))
        self.more.setAccessibleName(tr("Text and correction"))
        self.correct = QAction(tr("Measure what several layers do at once"), self)
        self.correct.setToolTip(tr("Corrects the sum of single KL increases; a budget's forecast then has a range"))
        self.correct.setCheckable(True)
        self.more.setMenu(self._menu())
        self.button = QPushButton(tr("Measure"))
        self.button.clicked.connect(self.measure)
        flow = FlowLayout()
        for widget in (self.treatments, self.method, self.seconds, self.more, self.button):
            flow.addWidget(widget)
        outer = QVBoxLayout(self)
        outer.setContentsMargins(8, 0, 8, 0)
        outer.addLayout(flow)
        self._method_changed()
        self.offer(Recipe())
        self._say_text()

    def offer(self, recipe: Recipe) -> None:
        """Offer the default treatments, those of the recipe and of its solver; what is checked stays so."""
        self._recipe = recipe
        checked = set(self.treatments.checked()) or set(AT_FIRST)
        tags = [treatment.tag for treatment in self.offered()]
        if tags != list(self.treatments.texts()):
            self.treatments.show_entries([Entry(tag, tag in checked) for tag in tags])

    def offered(self) -> tuple[Treatment, ...]:
        return offered(self._recipe, *self._more)

    def chosen(self) -> tuple[Treatment, ...]:
        checked = set(self.treatments.checked())
        return tuple(treatment for treatment in self.offered() if treatment.tag in checked)

    def request(self, path: str, workspace: str) -> MeasureSensitivity:
        """What is asked for now."""
        return MeasureSensitivity(
            path,
            self.text,
            self.chosen(),
            workspace=workspace,
            method=self.method.currentData(),
            seconds=self.seconds.value(),
            correct=self.correct.isChecked(),
        )

    def show_measuring(self, measuring: bool) -> None:
        self.button.setText(tr("Cancel") if measuring else tr("Measure"))
        self.button.setToolTip(
            tr("What is measured already stays") if measuring else tr("What is known already is not measured again")
        )

    def _menu(self) -> QMenu:
        menu = QMenu(self.more)
        menu.setToolTipsVisible(True)
        menu.addAction(self.correct)
        menu.addSeparator()
        menu.addAction(tr("Measure on a text file …"), self._choose_text)
        self._shipped = menu.addAction(tr("Measure on the shipped text"), self._use_shipped)
        return menu

    def _choose_text(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(
            self, tr("Text to measure on"), self.text, tr("Text (*.txt *.jsonl *.json)")
        )
        if chosen:
            self.text = chosen
            self._say_text()

    def _use_shipped(self) -> None:
        self.text = ""
        self._say_text()

    def _say_text(self) -> None:
        name = Path(self.text).name
        self._shipped.setEnabled(bool(self.text))
        self.more.setToolTip(tr("Measured on {name}", name=name or tr("the shipped text")))
        self.more.setText(tr("More: {name}", name=name[:16]) if name else tr("More"))

    def _method_changed(self) -> None:
        self.seconds.setVisible(self.method.currentData() == "auto")
        self.method.setToolTip(tr(METHODS[self.method.currentIndex()][2]))

    def _add(self, words: str) -> None:
        """A treatment by its text or tag."""
        try:
            treatment = parse_treatment_text(words)
        except RecipeError as error:
            self.treatments.refuse(f"{error.what}. {error.remedy}".strip())
            return
        self._more.append(treatment)
        self.offer(self._recipe)
        self.treatments.check(treatment.tag, on=True)
        self.treatments.line.clear()
