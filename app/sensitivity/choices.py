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
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.recipe.recipe import Recipe, Treatment
from benchvise.core.recipe.treatment_text import parse_treatment_text

_WIDEST_METHOD = 240
AT_FIRST = ("int8 channel", "int4 g128", "int3 g64")
"""The treatments that are measured unless others are chosen."""

METHODS = (
    ("Measured one by one", "enable_one", "Each layer alone is treated: one short forward pass per cell. Exact."),
    (
        "Spared one by one",
        "disable_one",
        "All layers are treated, and what sparing one of them wins back is counted. Exact.",
    ),
    ("Estimated from gradients", "fisher", "One backward pass estimates all cells. Quick, and a forecast."),
    (
        "As good as time allows",
        "auto",
        "All cells are estimated, then those of the largest KL increase measured as long as the seconds last.",
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
        self.treatments = CheckList("Treatments", "Which treatments are measured", add_hint="Add one, such as int5 g64")
        self.treatments.added.connect(self._add)
        self.method = CalmComboBox()
        self.method.setAccessibleName("Method")
        self.method.setMaximumWidth(_WIDEST_METHOD)
        for row, (title, key, help_text) in enumerate(METHODS):
            self.method.addItem(title, key)
            self.method.setItemData(row, help_text, Qt.ItemDataRole.ToolTipRole)
        self.method.currentIndexChanged.connect(self._method_changed)
        self.seconds = calm(QDoubleSpinBox())
        self.seconds.setRange(1, 86_400)
        self.seconds.setDecimals(0)
        self.seconds.setValue(60)
        self.seconds.setSuffix(" s")
        self.seconds.setAccessibleName("Seconds")
        self.seconds.setToolTip("How long measuring may take")
        self.more = QPushButton("More")
        self.more.setAccessibleName("Text and correction")
        self.correct = QAction("Measure what several layers do at once", self)
        self.correct.setToolTip("Corrects the sum of single KL increases; a budget's forecast then has a range")
        self.correct.setCheckable(True)
        self.more.setMenu(self._menu())
        self.button = QPushButton("Measure")
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
        self.button.setText("Cancel" if measuring else "Measure")
        self.button.setToolTip(
            "What is measured already stays" if measuring else "What is known already is not measured again"
        )

    def _menu(self) -> QMenu:
        menu = QMenu(self.more)
        menu.setToolTipsVisible(True)
        menu.addAction(self.correct)
        menu.addSeparator()
        menu.addAction("Measure on a text file …", self._choose_text)
        self._shipped = menu.addAction("Measure on the shipped text", self._use_shipped)
        return menu

    def _choose_text(self) -> None:
        chosen, _ = QFileDialog.getOpenFileName(self, "Text to measure on", self.text, "Text (*.txt *.jsonl)")
        if chosen:
            self.text = chosen
            self._say_text()

    def _use_shipped(self) -> None:
        self.text = ""
        self._say_text()

    def _say_text(self) -> None:
        name = Path(self.text).name
        self._shipped.setEnabled(bool(self.text))
        self.more.setToolTip(f"Measured on {name or 'the shipped text'}")
        self.more.setText(f"More: {name[:16]}" if name else "More")

    def _method_changed(self) -> None:
        self.seconds.setVisible(self.method.currentData() == "auto")
        self.method.setToolTip(METHODS[self.method.currentIndex()][2])

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
