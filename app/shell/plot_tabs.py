"""The tabs in the middle; each panel is built when it is first looked at."""

from __future__ import annotations

from PySide6.QtCore import Signal
from PySide6.QtWidgets import QTabWidget, QVBoxLayout, QWidget

from benchvise.app.shell.panel_registry import PLOT_PANELS, build_panel
from benchvise.app.state.session import Session


class PlotTabs(QTabWidget):
    """built: (number, panel) when a panel was made."""

    built = Signal(int, QWidget)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._panels: dict[int, QWidget] = {}
        self._pages: list[QVBoxLayout] = []
        self.setDocumentMode(True)
        self.setUsesScrollButtons(True)
        self.tabBar().setAccessibleName("Plots")
        self.tabBar().setDrawBase(False)
        for title, _, _ in PLOT_PANELS:
            page = QWidget()
            layout = QVBoxLayout(page)
            layout.setContentsMargins(0, 0, 0, 0)
            self._pages.append(layout)
            self.addTab(page, title)
        for number in range(self.count()):
            self.setTabToolTip(number, f"{PLOT_PANELS[number][0]} ({number + 1})")
        self.currentChanged.connect(self._build_seen)

    def titles(self) -> tuple[str, ...]:
        return tuple(title for title, _, _ in PLOT_PANELS)

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
            panel = build_panel(number, self._session.document, self._session.client)
            self._panels[number] = panel
            self._pages[number].addWidget(panel)
            self.built.emit(number, panel)
        return panel
