"""A number of the scoreboard: a forecast (≈, grey), an exact plan (black), or measured (black, with a tick)."""

from __future__ import annotations

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QHBoxLayout, QLabel, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT, scaled
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.app.widgets.quality_meter import QualityMeter
from benchvise.core.language import message, tr

_NOTHING, _FORECAST, _PLANNED, _MEASURED = (
    message("not known"),
    message("forecast"),
    message("planned"),
    message("measured"),
)


class Figure(QWidget):
    """A title and a value under it."""

    def __init__(self, title: str, help_text: str, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._help = help_text
        self._kind = _NOTHING
        self._title = QLabel(title)
        self._title.setFont(scaled(self.font(), 0.82))
        self._title.setProperty("tone", "muted")
        self._value = QLabel("—")
        self._value.setFont(scaled(self.font(), 1.0, bold=True))
        self._tick = QLabel()
        self._tick.setFixedSize(QSize(16, 16))
        line = QHBoxLayout()
        line.setContentsMargins(0, 0, 0, 0)
        line.setSpacing(UNIT // 2)
        self.meter = QualityMeter()
        line.addWidget(self.meter)
        line.addWidget(self._value)
        line.addWidget(self._tick)
        line.addStretch(1)
        layout = QVBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._title)
        layout.addLayout(line)
        self.setToolTip(help_text)
        self.setAccessibleName(title)
        self._colour = ""
        theme_notifier().changed.connect(self._paint)
        self._paint()

    def set_title(self, title: str) -> None:
        """Another title, for another thing that is shown."""
        self._title.setText(title)
        self.setAccessibleName(title)

    @property
    def title(self) -> str:
        return self._title.text()

    @property
    def text(self) -> str:
        return self._value.text()

    @property
    def measured(self) -> bool:
        return self._kind == _MEASURED

    def show_forecast(self, text: str, range_text: str = "") -> None:
        """A predicted value; `range_text` is told on hover."""
        self._show(text, _FORECAST, range_text)

    def show_planned(self, text: str, more: str = "") -> None:
        """A value that is exact and not carried out yet."""
        self._show(text, _PLANNED, more)

    def show_measured(self, text: str, more: str = "") -> None:
        self._show(text, _MEASURED, more)

    def show_nothing(self, why: str) -> None:
        self._show("—", _NOTHING, why)

    def _show(self, text: str, kind: str, more: str) -> None:
        self._kind = kind
        self._value.setText(text)
        self.setToolTip("\n".join(part for part in (self._help, more) if part))
        self.setAccessibleDescription(f"{text}, {tr(kind)}. {self.toolTip()}")
        self._paint()

    def _paint(self) -> None:
        theme = current_theme()
        colour = theme.text if self._kind in (_MEASURED, _PLANNED) else theme.muted
        if colour != self._colour:  # a style sheet is costly even where it says the same
            self._colour = colour
            self._value.setStyleSheet(f"color: {colour}")
        self._tick.setVisible(self.measured)
        if self.measured:
            self._tick.setPixmap(icon("mdi6.check-bold", theme.good).pixmap(16, 16))
        self._value.setAlignment(Qt.AlignmentFlag.AlignLeft | Qt.AlignmentFlag.AlignVCenter)
