"""Fit's three choices: smaller, balanced, better, each a point of the front of best allocations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from PySide6.QtCore import Signal
from PySide6.QtWidgets import QHBoxLayout, QWidget

from benchvise.app.budget.kinds import Choices, front_of
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.choice_card import ChoiceCard
from benchvise.core.language import message, tr
from benchvise.core.protocol.results import Allocated
from benchvise.core.text import QUALITY_WORDS, byte_text, kl_text, percent_text, quality_word

_LIMITS = (
    (message("Smaller"), QUALITY_WORDS[2][0]),
    (message("Balanced"), QUALITY_WORDS[1][0]),
    (message("Better"), QUALITY_WORDS[0][0]),
)
"""(title, the KL that it stays below): noticeable, slight, indistinguishable."""


@dataclass(frozen=True)
class FitChoice:
    """A point of the front. nbytes: of the whole checkpoint."""

    title: str
    place: int
    nbytes: int
    kl: float


def fit_choices(allocated: Allocated) -> tuple[FitChoice, ...]:
    """The smallest allocations of three qualities, or the best there is; each point once, () where cost is time."""
    front = front_of(allocated)
    if front.unit != "bytes" or not len(front.cost):
        return ()
    found: dict[int, FitChoice] = {}
    for title, limit in _LIMITS:
        fitting = np.flatnonzero(front.kl < limit)
        place = int(fitting[np.argmin(front.cost[fitting])]) if len(fitting) else int(np.argmin(front.kl))
        found.setdefault(place, FitChoice(title, place, int(front.cost[place]), float(front.kl[place])))
    return tuple(found.values())


class FitCards(QWidget):
    """chosen: the place on the front whose card was clicked."""

    chosen = Signal(int)

    def __init__(self) -> None:
        super().__init__()
        row = QHBoxLayout(self)
        row.setContentsMargins(UNIT, UNIT // 2, UNIT, 0)
        row.setSpacing(UNIT)
        self.cards = tuple(ChoiceCard() for _ in _LIMITS)
        for number, card in enumerate(self.cards):
            row.addWidget(card, 1)
            card.clicked.connect(lambda _=False, number=number: self._click(number))
        self._choices: tuple[FitChoice, ...] = ()
        self.hide()

    def show_choices(self, allocated: Allocated | None, choices: Choices | None, before: int) -> None:
        """before: bytes of the checkpoint as it came."""
        self._choices = fit_choices(allocated) if allocated is not None else ()
        self.setVisible(bool(self._choices))
        for number, card in enumerate(self.cards):
            card.setVisible(number < len(self._choices))
            if number >= len(self._choices) or allocated is None:
                continue
            found = self._choices[number]
            bits = choices.bits(found.nbytes - choices.rest_bytes) if choices is not None else 0.0
            card.show_texts(
                tr(found.title),
                byte_text(found.nbytes),
                (
                    tr("{quality} · KL ≈ {kl}", quality=tr(quality_word(found.kl)), kl=kl_text(found.kl)),
                    tr(
                        "{share} of the original, {bits:.2f} bits",
                        share=percent_text(found.nbytes / before) if before else "—",
                        bits=bits,
                    ),
                ),
                found.kl,
            )
            card.setChecked(found.nbytes == allocated.planned.total_after)

    def _click(self, number: int) -> None:
        self.cards[number].setChecked(True)
        self.chosen.emit(self._choices[number].place)
