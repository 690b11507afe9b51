"""A card that is a button: a title, a great figure, and lines below; the chosen one has an accent and a mark."""

from __future__ import annotations

from collections.abc import Sequence

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QLabel, QPushButton, QSizePolicy, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.widgets.quality_meter import QualityMeter

_LEAST_WIDTH = 160


class ChoiceCard(QPushButton):
    """The whole card is clicked; its texts are its accessible name."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self.setProperty("role", "card")
        self.setCheckable(True)
        self.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Minimum)
        self.title, self.figure = QLabel(), QLabel()
        self.title.setFont(scaled(self.font(), 1.0, bold=True))
        self.figure.setFont(scaled(self.font(), 1.35, bold=True))
        self.meter = QualityMeter()
        self.lines = QLabel(wordWrap=True)
        self.lines.setProperty("tone", "muted")
        self.column = QVBoxLayout(self)
        self.column.setContentsMargins(2 * UNIT, UNIT, 2 * UNIT, UNIT)
        self.column.setSpacing(UNIT // 2)
        for label in (self.title, self.figure, self.meter, self.lines):
            label.setAttribute(Qt.WidgetAttribute.WA_TransparentForMouseEvents)
            self.column.addWidget(label)
        self.column.addStretch(1)

    def show_texts(self, title: str, figure: str, lines: Sequence[str], kl: float | None = None) -> None:
        """kl: of which the meter tells the quality, None for no meter."""
        self.title.setText(title)
        self.figure.setText(figure)
        self.lines.setText("\n".join(line for line in lines if line))
        self.meter.show_kl(kl)
        self.setAccessibleName(", ".join((title, figure, *lines)))

    def sizeHint(self) -> QSize:
        return self.column.sizeHint()

    def minimumSizeHint(self) -> QSize:
        return QSize(_LEAST_WIDTH, self.column.minimumSize().height())

    def hasHeightForWidth(self) -> bool:
        return True

    def heightForWidth(self, width: int) -> int:
        return self.column.heightForWidth(width)
