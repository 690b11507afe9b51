"""The row over a picture of weights: which layer it shows, its figures as chips, and the choices of the view."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import Qt, Signal
from PySide6.QtGui import QGuiApplication, QResizeEvent
from PySide6.QtWidgets import QHBoxLayout, QPushButton, QSizePolicy, QToolButton, QWidget

from benchvise.app.plots.controls import Controls
from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.widgets.elided_label import ElidedLabel
from benchvise.app.widgets.popover import PopoverButton
from benchvise.core.language import tr

HEIGHT = 32


@dataclass(frozen=True)
class Chip:
    """One figure: its name, its value as shown, and what it means."""

    name: str
    value: str
    help: str


class LookHeader(QWidget):
    """Chips go, the last first, where the room is short; a click copies one.

    everything_wanted: (on) the person wants the whole table of figures, or no more.
    """

    everything_wanted = Signal(bool)

    def __init__(self, controls: Controls, *, with_table: bool = False) -> None:
        super().__init__()
        self.setFixedHeight(HEIGHT)
        self.title = ElidedLabel()
        self.title.setFont(scaled(self.font(), 1.0, bold=True))
        self.title.setSizePolicy(QSizePolicy.Policy.Maximum, QSizePolicy.Policy.Preferred)
        self._chips: list[QPushButton] = []
        self._shown: tuple[Chip, ...] = ()
        self._area = QWidget()
        self._area.setSizePolicy(QSizePolicy.Policy.Ignored, QSizePolicy.Policy.Preferred)
        self._area_row = QHBoxLayout(self._area)
        self._area_row.setContentsMargins(0, 0, 0, 0)
        self._area_row.setSpacing(UNIT // 2)
        self._area_row.addStretch(1)
        self.all_button = QToolButton()
        self.all_button.setCheckable(True)
        self.all_button.setText(tr("All ›"))
        self.all_button.setToolTip(tr("Every figure as a table beside the plot"))
        self.all_button.setAccessibleName(tr("All figures"))
        self.all_button.toggled.connect(self.everything_wanted)
        if not with_table:
            self.all_button.hide()
        self.view_button = PopoverButton(tr("View ▾"), tr("What is drawn, and how"), controls)
        row = QHBoxLayout(self)
        row.setContentsMargins(12, 2, UNIT, 2)
        row.setSpacing(UNIT)
        row.addWidget(self.title)
        row.addWidget(self._area, 1)
        row.addWidget(self.all_button)
        row.addWidget(self.view_button)

    @property
    def chips(self) -> tuple[Chip, ...]:
        """What there is to show, also where the room does not suffice."""
        return self._shown

    def show_title(self, text: str, whole: str) -> None:
        """The layer's short name; `whole` is told on hover."""
        self.title.setText(text)
        self.title.setToolTip(whole)

    def show_chips(self, chips: Sequence[Chip]) -> None:
        """Show these figures, as many as there is room for."""
        self._shown = tuple(chips)
        while len(self._chips) < len(self._shown):
            button = QPushButton()
            button.setProperty("role", "chip")
            button.setCursor(Qt.CursorShape.PointingHandCursor)
            button.setFocusPolicy(Qt.FocusPolicy.NoFocus)
            button.clicked.connect(partial(self._copy, len(self._chips)))
            self._area_row.insertWidget(len(self._chips), button)
            self._chips.append(button)
        for button, chip in zip(self._chips, self._shown, strict=False):
            button.setText(f"{chip.name} {chip.value}")
            button.setToolTip(tr("{help}\nClick to copy it", help=chip.help))
        self._fit()

    def resizeEvent(self, event: QResizeEvent) -> None:
        super().resizeEvent(event)
        self._fit()

    def _fit(self) -> None:
        room = self._area.width()
        for place, button in enumerate(self._chips):
            width = button.sizeHint().width() + self._area_row.spacing()
            fits = place < len(self._shown) and room >= width
            button.setVisible(fits)
            room = room - width if fits else 0

    def _copy(self, place: int, _: bool = False) -> None:
        chip = self._shown[place]
        QGuiApplication.clipboard().setText(f"{chip.name} = {chip.value}")


def short_name(name: str) -> str:
    """`14 · q_proj` of `model.layers.14.self_attn.q_proj`: block and end of a layer's name."""
    parts = name.split(".")
    numbers = [part for part in parts if part.isdigit()]
    return f"{numbers[-1]} · {parts[-1]}" if numbers and numbers[-1] != parts[-1] else parts[-1]
