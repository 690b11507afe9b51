"""The tabs in the middle; each panel is built when it is first looked at."""

from __future__ import annotations

from PySide6.QtCore import Qt, Signal
from PySide6.QtWidgets import QTabWidget, QToolButton, QVBoxLayout, QWidget

from benchvise.app.shell.panel_registry import LEFT_SIDE, PLOT_PANELS, RIGHT_SIDE, build_panel
from benchvise.app.state.session import Session
from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import current_theme, theme_notifier
from benchvise.core.language import tr

FIRST = "Histogram"
"""The tab that is shown at first."""


class PlotTabs(QTabWidget):
    """built: (number, panel) when a panel was made. side_wanted: a side of the window is to be folded or unfolded."""

    built = Signal(int, QWidget)
    side_wanted = Signal(str)

    def __init__(self, session: Session, parent: QWidget | None = None) -> None:
        super().__init__(parent)
        self._session = session
        self._panels: dict[int, QWidget] = {}
        self._pages: list[QVBoxLayout] = []
        self.setDocumentMode(True)
        self.setUsesScrollButtons(True)
        self.tabBar().setAccessibleName(tr("Plots"))
        self.tabBar().setDrawBase(False)
        for title, _, _, _ in PLOT_PANELS:
            page = QWidget()
            layout = QVBoxLayout(page)
            layout.setContentsMargins(0, 0, 0, 0)
            self._pages.append(layout)
            self.addTab(page, tr(title))
        for number in range(self.count()):
            self.setTabToolTip(number, f"{tr(PLOT_PANELS[number][0])} ({number + 1})")
        self.sides = {side: self._side_button(side) for side in (LEFT_SIDE, RIGHT_SIDE)}
        self.setCornerWidget(self.sides[LEFT_SIDE], Qt.Corner.TopLeftCorner)
        self.setCornerWidget(self.sides[RIGHT_SIDE], Qt.Corner.TopRightCorner)
        theme_notifier().changed.connect(self._paint_icons)
        self._paint_icons()
        self.setCurrentIndex(self.titles().index(FIRST))
        self.currentChanged.connect(self._build_seen)

    def current_title(self) -> str:
        return self.titles()[self.currentIndex()]

    def folded(self) -> frozenset[str]:
        """Sides of the window that the current tab does not need."""
        return PLOT_PANELS[self.currentIndex()][3]

    def _side_button(self, side: str) -> QToolButton:
        button = QToolButton()
        name = tr("layers") if side == LEFT_SIDE else tr("treatment and recipe")
        button.setToolTip(tr("Show or hide {name}", name=name))
        button.setAccessibleName(tr("Show or hide {name}", name=name))
        button.clicked.connect(lambda _=False: self.side_wanted.emit(side))
        return button

    def _paint_icons(self) -> None:
        for side, button in self.sides.items():
            button.setIcon(icon(f"mdi6.dock-{side}", current_theme().muted))

    def titles(self) -> tuple[str, ...]:
        return tuple(title for title, _, _, _ in PLOT_PANELS)

    def panel(self, title: str) -> QWidget:
        """The panel of that title, built if need be."""
        return self._built(self.titles().index(title))

    def show_number(self, number: int) -> None:
        if 0 <= number < self.count():
            self.setCurrentIndex(number)
            self._built(number)

    def show_title(self, title: str) -> None:
        self.show_number(self.titles().index(title))

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
