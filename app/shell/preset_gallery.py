"""All presets as cards: what each takes on this model, how good it is as far as that is known, and what it needs."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QGridLayout, QLabel, QLineEdit, QScrollArea, QVBoxLayout, QWidget

from benchvise.app.state.document import Document
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.widgets.choice_card import ChoiceCard
from benchvise.app.widgets.preset_menu import MAX_LAYERS
from benchvise.core.errors import UserError
from benchvise.core.language import tr
from benchvise.core.recipe.plan import make_plan
from benchvise.core.recipe.presets import Preset, presets
from benchvise.core.text import byte_text, kl_text, quality_word

COLUMNS = 3


class PresetGallery(QDialog):
    """A click takes a preset and closes the gallery."""

    def __init__(self, document: Document, choose: Callable[[str], object], parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._document = document
        self._choose = choose
        self.setWindowTitle(tr("Presets"))
        self.resize(920, 640)
        self.search = QLineEdit(placeholderText=tr("Search: name, bits, method"), clearButtonEnabled=True)
        self.search.textChanged.connect(self._arrange)
        self.none = QLabel(tr("No preset matches."))
        self.none.setProperty("tone", "muted")
        inner = QWidget()
        self._grid = QGridLayout(inner)
        self._grid.setSpacing(UNIT)
        for column in range(COLUMNS):
            self._grid.setColumnStretch(column, 1)
        scroll = QScrollArea(widgetResizable=True)
        scroll.setHorizontalScrollBarPolicy(Qt.ScrollBarPolicy.ScrollBarAlwaysOff)
        scroll.setWidget(inner)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, 2 * UNIT)
        layout.addWidget(self.search)
        layout.addWidget(self.none)
        layout.addWidget(scroll, 1)
        checkpoint = document.checkpoint
        layers = checkpoint.layers if checkpoint is not None and len(checkpoint.layers) <= MAX_LAYERS else ()
        self._weights = sum(layer.parameters for layer in layers)
        self._measured = {
            run.recipe_name: run.kl_mean for run in reversed(document.own_runs()) if run.kl_mean is not None
        }
        self._presets = presets(layers)
        self.cards = {preset.name: self._card(preset) for preset in self._presets}
        self._headings: dict[str, QLabel] = {}
        self._arrange("")

    def _card(self, preset: Preset) -> ChoiceCard:
        card = ChoiceCard()
        kl = self._measured.get(preset.name)
        bits = tr("{bits:.2f} bits in compressed layers", bits=preset.bits_per_weight)
        size = self._size(preset)
        lines = (
            bits,
            tr("{quality} · KL {kl}, measured", quality=tr(quality_word(kl)), kl=kl_text(kl)) if kl is not None else "",
            tr("learns from text: minutes to hours") if preset.recipe.needs_calibration else tr("no text needed: fast"),
            tr(preset.recipe.description),
        )
        card.show_texts(preset.name, size, lines, kl)
        card.setChecked(self._document.recipe == preset.recipe)
        card.clicked.connect(lambda _=False: self._take(preset.name))
        return card

    def _size(self, preset: Preset) -> str:
        """Bytes on this model, exact; bits per weight while none is open, or where the preset cannot be carried out."""
        checkpoint = self._document.checkpoint
        if checkpoint is not None and self._weights and preset.recipe.surgery:
            try:
                return byte_text(make_plan(checkpoint, preset.recipe).bytes_after)
            except UserError:
                return f"{preset.bits_per_weight:.2f}"
        return byte_text(preset.bits_overall * self._weights / 8) if self._weights else f"{preset.bits_per_weight:.2f}"

    def _take(self, name: str) -> None:
        self.accept()
        self._choose(name)

    def _arrange(self, words: str) -> None:
        """Put what matches all words into rows below the headings of its size."""
        while self._grid.count():
            self._grid.takeAt(0)
        for widget in (*self.cards.values(), *self._headings.values()):
            widget.hide()
        row, column, group = -1, 0, ""
        for preset in self._presets:
            if not _matches(preset, words):
                continue
            if preset.group != group:
                group, column, row = preset.group, 0, row + 1
                self._grid.addWidget(self._heading(group), row, 0, 1, COLUMNS)
                row += 1
            elif column == COLUMNS:
                row, column = row + 1, 0
            self._grid.addWidget(self.cards[preset.name], row, column)
            self.cards[preset.name].show()
            column += 1
        self.none.setVisible(row < 0)
        self._grid.setRowStretch(row + 1, 1)

    def _heading(self, group: str) -> QLabel:
        label = self._headings.setdefault(group, QLabel(tr(group)))
        label.setFont(scaled(self.font(), 1.1, bold=True))
        label.show()
        return label


def _matches(preset: Preset, words: str) -> bool:
    methods = {rule.treatment.tag for rule in preset.recipe.rules}
    text = " ".join((preset.name, tr(preset.recipe.description), tr(preset.group), *methods)).lower()
    return all(word in text for word in words.lower().split())
