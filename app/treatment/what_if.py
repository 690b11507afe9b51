"""What if this layer had another treatment? Answered at once, on a few tokens, with the recipe untouched."""

from __future__ import annotations

from functools import cache

from PySide6.QtCore import QSignalBlocker, Qt
from PySide6.QtWidgets import QGridLayout, QHBoxLayout, QLabel, QPushButton, QVBoxLayout, QWidget

from benchvise.app.engine.client import EngineClient
from benchvise.app.engine.latest_request import LatestRequest
from benchvise.app.state.candidate_treatments import offered
from benchvise.app.state.document import Document
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.calm import CalmComboBox
from benchvise.app.widgets.labels import labelled, wrapped
from benchvise.core.checkpoint.records import Layer
from benchvise.core.language import message, tr
from benchvise.core.protocol.events import Failed
from benchvise.core.protocol.requests import WhatIf
from benchvise.core.protocol.results import WhatIfAnswer
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.text import NOTHING, byte_text, error_text, kl_text, number_text, plural

_ROWS = (
    (message("KL at the output"), message("Nats per token, with this layer alone treated, on a few windows of text")),
    (message("Output error"), message("Squared error of the layer's own outputs over their energy, on the same text")),
    (message("SQNR, dB"), message("Signal to quantisation noise of the weight")),
    (message("Size"), message("Bytes of the treated layer")),
)
_EXACT = "exact"


class WhatIfView(QWidget):
    """A button that begins it; then what to try, what it would do beside what is in place, and Apply."""

    def __init__(self, document: Document, client: EngineClient, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._question = LatestRequest(client, self)
        self._answers: dict[tuple[str, str, Treatment], WhatIfAnswer] = {}
        self.begin = QPushButton(tr("What if …"))
        self.begin.setToolTip(tr("Try another treatment on this layer: the recipe stays as it is"))
        self.begin.clicked.connect(self._begin)
        self.combo = CalmComboBox()
        self.combo.setAccessibleName(tr("Treatment to try"))
        self.combo.setToolTip(
            tr("Measured candidates, the default treatments and those of presets; the form edits it further")
        )
        self.combo.activated.connect(self._choose)
        self.said = wrapped("muted")
        self.problem = wrapped("error")
        self.problem.hide()
        self.apply = QPushButton(tr("Apply"))
        self.apply.setProperty("primary", "true")
        self.apply.setToolTip(tr("Put the tried treatment into the recipe"))
        self.apply.clicked.connect(self._apply)
        self.end = QPushButton(tr("End what-if"))
        self.end.setToolTip(tr("Back to the treatment that is in place"))
        self.end.clicked.connect(lambda: document.try_out(None))
        self.table = _Comparison()
        self._trying = QWidget()
        self._lay_out()
        document.trial_changed.connect(self.refresh)
        document.selection_changed.connect(self.refresh)
        document.recipe_changed.connect(self.refresh)
        document.checkpoint_changed.connect(self._answers.clear)
        self.refresh()

    def _lay_out(self) -> None:
        heading = QLabel(tr("What if? The recipe stays as it is."))
        heading.setWordWrap(True)
        buttons = QHBoxLayout()
        buttons.addWidget(self.apply)
        buttons.addWidget(self.end)
        buttons.addStretch(1)
        trying = QVBoxLayout(self._trying)
        trying.setContentsMargins(0, 0, 0, 0)
        trying.setSpacing(UNIT)
        trying.addWidget(heading)
        trying.addLayout(labelled(tr("Try"), self.combo))
        trying.addWidget(self.table)
        trying.addWidget(self.said)
        trying.addWidget(self.problem)
        trying.addLayout(buttons)
        column = QVBoxLayout(self)
        column.setContentsMargins(0, 0, 0, 0)
        column.setSpacing(UNIT)
        column.addWidget(self.begin)
        column.addWidget(self._trying)

    def refresh(self) -> None:
        """Show the trial that goes on, if one does, and ask for what is not known of it."""
        document, layer = self._document, self._layer()
        trial = document.trial
        self.setVisible(layer is not None)
        self.begin.setVisible(trial is None)
        self._trying.setVisible(trial is not None and layer is not None)
        if trial is None or layer is None:
            self._question.drop()
            return
        self._offer(trial)
        present = document.treatment_of(document.selection[0])
        self.apply.setEnabled(trial != present)
        self.table.show_names(present.tag, trial.tag)
        self._ask(layer, present, trial)

    def _layer(self) -> Layer | None:
        """The one selected layer, where it can be treated at all."""
        document = self._document
        layer = document.current if len(document.selection) == 1 else None
        return layer if layer is not None and layer.compressible else None

    def _begin(self) -> None:
        """Start from what is in place, or from what is offered first where the layer is kept."""
        present = self._document.treatment_of(self._document.selection[0])
        self._document.try_out(self._offered()[0] if present.keeps else present)
        self.combo.setFocus(Qt.FocusReason.OtherFocusReason)

    def _offered(self) -> tuple[Treatment, ...]:
        document = self._document
        last = document.measurement
        return offered(document.recipe, *(last.treatments if last is not None else ()), *_of_presets())

    def _offer(self, trial: Treatment) -> None:
        with QSignalBlocker(self.combo):
            self.combo.clear()
            others = [treatment for treatment in self._offered() if treatment.tag != trial.tag]
            for treatment in (trial, *others):
                self.combo.addItem(treatment.tag, treatment)
            self.combo.setCurrentIndex(0)

    def _choose(self, row: int) -> None:
        self._document.try_out(self.combo.itemData(row))

    def _apply(self) -> None:
        document = self._document
        trial, layer = document.trial, self._layer()
        if trial is not None and layer is not None:
            document.try_out(None)
            document.treat(document.selection[:1], [trial], tr("Set {name} to {tag}", name=layer.name, tag=trial.tag))

    def _ask(self, layer: Layer, present: Treatment, trial: Treatment) -> None:
        checkpoint = self._document.checkpoint
        assert checkpoint is not None
        self.problem.hide()
        wanted = [each for each in dict.fromkeys((trial, present)) if not each.keeps]
        missing = [each for each in wanted if self._answer(layer, each) is None]
        self._show(layer, present, trial)
        if not missing:
            self._question.drop()
            return
        self.said.setText(tr("Trying it out …"))

        def answered(place: int, answer: WhatIfAnswer) -> None:
            self._answers[checkpoint.path, layer.name, missing[place]] = answer
            self._show(layer, present, trial)

        def failed(place: int, event: Failed) -> None:
            if missing[place] == trial:
                self.said.setText("")
                self.problem.setText(f"{event.what}. {event.remedy}".strip())
                self.problem.show()

        requests = [WhatIf(checkpoint.path, layer.name, each, workspace=self._document.workspace) for each in missing]
        self._question.ask(requests, answered, failed)

    def _answer(self, layer: Layer, treatment: Treatment) -> WhatIfAnswer | None:
        assert self._document.checkpoint is not None
        return self._answers.get((self._document.checkpoint.path, layer.name, treatment))

    def _show(self, layer: Layer, present: Treatment, trial: Treatment) -> None:
        answer = self._answer(layer, trial)
        self.table.show_values(self._words(layer, present), self._words(layer, trial))
        if answer is not None:
            on = tr("KL on {tokens}. ", tokens=plural(answer.tokens, "token")) if answer.kl is not None else ""
            self.said.setText(on + " ".join(f"{note[:1].upper()}{note[1:]}." for note in answer.notes))
        elif trial.keeps:
            self.said.setText("")
        self.said.setVisible(bool(self.said.text()))

    def _words(self, layer: Layer, treatment: Treatment) -> tuple[str, ...]:
        """One word per row."""
        if treatment.keeps:
            return kl_text(0.0), error_text(0.0), _EXACT, byte_text(layer.nbytes)
        answer = self._answer(layer, treatment)
        if answer is None:
            return (NOTHING,) * len(_ROWS)
        return (
            NOTHING if answer.kl is None else f"≈{kl_text(answer.kl)}",
            NOTHING if answer.output_error is None else error_text(answer.output_error),
            _EXACT if answer.sqnr_db is None else number_text(answer.sqnr_db, 3),
            byte_text(answer.bytes_after),
        )


class _Comparison(QWidget):
    """Rows of figures: in place, and as tried."""

    def __init__(self) -> None:
        super().__init__()
        grid = QGridLayout(self)
        grid.setContentsMargins(0, 0, 0, 0)
        grid.setVerticalSpacing(UNIT // 2)
        grid.setHorizontalSpacing(2 * UNIT)
        self.heads = (QLabel(), QLabel())
        self.values: list[tuple[QLabel, QLabel]] = []
        for column, head in enumerate(self.heads, start=1):
            head.setProperty("tone", "muted")
            head.setAlignment(_RIGHT)
            grid.addWidget(head, 0, column)
            grid.setColumnStretch(column, 1)
        for row, (title, help_text) in enumerate(_ROWS, start=1):
            label = QLabel(tr(title))
            label.setToolTip(tr(help_text))
            grid.addWidget(label, row, 0)
            pair = QLabel(), QLabel()
            for column, value in enumerate(pair, start=1):
                value.setAlignment(_RIGHT)
                value.setTextInteractionFlags(Qt.TextInteractionFlag.TextSelectableByMouse)
                value.setAccessibleName(f"{tr(title)}, {tr('in place') if column == 1 else tr('what if')}")
                grid.addWidget(value, row, column)
            self.values.append(pair)
        self.show_names("", "")

    def show_names(self, present: str, trial: str) -> None:
        for head, title, tag in zip(self.heads, (tr("In place"), tr("What if")), (present, trial), strict=True):
            head.setText(title)
            head.setToolTip(tag)

    def show_values(self, present: tuple[str, ...], trial: tuple[str, ...]) -> None:
        for pair, *texts in zip(self.values, present, trial, strict=True):
            for label, text in zip(pair, texts, strict=True):
                label.setText(text)


_RIGHT = Qt.AlignmentFlag.AlignRight | Qt.AlignmentFlag.AlignVCenter


@cache
def _of_presets() -> tuple[Treatment, ...]:
    """The first treatment of each shipped recipe."""
    recipes = (load_preset(name) for name in preset_names())
    return tuple(recipe.rules[0].treatment for recipe in recipes if recipe.rules)
