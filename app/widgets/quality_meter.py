"""Five bars: how near the compressed model is to its original. The word always stands beside them."""

from __future__ import annotations

from PySide6.QtCore import QRectF, QSize
from PySide6.QtGui import QColor, QPainter, QPaintEvent
from PySide6.QtWidgets import QWidget

from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.core.language import tr
from benchvise.core.text import QUALITY_WORDS, quality_word

_BAR, _GAP, _HEIGHT = 4, 2, 10
_WORDS = tuple(word for _, word in QUALITY_WORDS)


class QualityMeter(QWidget):
    """Full is unharmed; green, then yellow, then red."""

    def __init__(self, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bars = 0
        count = len(_WORDS)
        self.setFixedSize(QSize(count * (_BAR + _GAP) - _GAP, _HEIGHT))
        theme_notifier().changed.connect(self.update)
        self.hide()

    @property
    def bars(self) -> int:
        """How many are filled."""
        return self._bars

    def show_kl(self, kl: float | None) -> None:
        """Fill the bars for a divergence in nats per token; None hides them."""
        self.setVisible(kl is not None)
        if kl is not None:
            self._bars = len(_WORDS) - _WORDS.index(quality_word(kl))
            self.setAccessibleName(tr("Quality: {quality} loss", quality=tr(quality_word(kl))))
            self.update()

    def paintEvent(self, event: QPaintEvent) -> None:  # noqa: ARG002 - the whole meter is drawn
        theme = current_theme()
        full = theme.good if self._bars >= 4 else theme.warning if self._bars == 3 else theme.error
        painter = QPainter(self)
        for place in range(len(_WORDS)):
            bar = QRectF(place * (_BAR + _GAP), 0, _BAR, _HEIGHT)
            painter.fillRect(bar, QColor(full if place < self._bars else theme.border))
