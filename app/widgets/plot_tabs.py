"""The tabs in the middle; each panel is built when it is first looked at."""

from __future__ import annotations

from PySide6.QtCore import QSize, Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from app.bench import Bench
from app.panels.registry import PLOT_PANELS, build_panel
from app.theme.icons import icon
from app.theme.theme import current_theme, theme_notifier


class PlotTabs(QTabWidget):
    """built: (number, panel) when a panel was made."""

    built = Signal(int, QWidget)

    def __init__(self, bench: Bench, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._bench = bench
        self._panels: dict[int, QWidget] = {}
        self.setDocumentMode(True)
        self.setIconSize(QSize(16, 16))
        self.setUsesScrollButtons(True)
        for title, _, _, _ in PLOT_PANELS:
            page = QWidget()
            layout = QVBoxLayout(page)
            layout.setContentsMargins(0, 0, 0, 0)
            self.addTab(page, title)
        for number in range(self.count()):
            self.setTabToolTip(number, f"{PLOT_PANELS[number][0]} ({number + 1})")
        self.currentChanged.connect(self._build_seen)
        theme_notifier().changed.connect(self._paint_icons)
        self._paint_icons()

    def titles(self) -> tuple[str, ...]:
        return tuple(title for title, _, _, _ in PLOT_PANELS)

    def panel(self, title: str) -> QWidget:
        """The panel of that title, built if need be."""
        return self._built(self.titles().index(title))

    def show_number(self, number: int) -> None:
        if 0 <= number < self.count():
            self.setCurrentIndex(number)
            self._built(number)

    def build_current(self) -> None:
        self._built(self.currentIndex())

    def _build_seen(self, number: int) -> None:
        if self.isVisible() and number >= 0:
            self._built(number)

    def _built(self, number: int) -> QWidget:
        panel = self._panels.get(number)
        if panel is None:
            panel = build_panel(number, self._bench.document, self._bench.client)
            self._panels[number] = panel
            layout = self.widget(number).layout()
            assert layout is not None
            layout.addWidget(panel)
            self.built.emit(number, panel)
        return panel

    def _paint_icons(self) -> None:
        for number, (_, name, _, _) in enumerate(PLOT_PANELS):
            self.setTabIcon(number, icon(name, current_theme().muted))
