"""The docks around the middle, and their remembered places."""

from __future__ import annotations

from itertools import pairwise

from PySide6.QtCore import QByteArray, Qt
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu, QTabBar, QTabWidget, QWidget

from benchvise.app.state.preferences import Preferences

LEFT, RIGHT, BOTTOM = (
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
)
_AREAS = {"layers": LEFT, "treatment": RIGHT, "recipe": RIGHT}
"""Docks that are not named here stand below."""
_SIDE_SHARES = (0.36, 0.225)
_BOTTOM_SHARE = 0.22


class Docks:
    """Named docks of a main window; hidden while no checkpoint is open."""

    def __init__(self, window: QMainWindow) -> None:
        self._window = window
        self._docks: dict[str, QDockWidget] = {}
        self._first: QByteArray | None = None
        options = QMainWindow.DockOption
        window.setDockOptions(options.AllowTabbedDocks | options.AllowNestedDocks | options.GroupedDragging)
        window.setTabPosition(Qt.DockWidgetArea.AllDockWidgetAreas, QTabWidget.TabPosition.North)

    def add(self, name: str, title: str, widget: QWidget, area: Qt.DockWidgetArea) -> QDockWidget:
        dock = QDockWidget(title, self._window)
        dock.setObjectName(name)
        dock.setWidget(widget)
        self._window.addDockWidget(area, dock)
        dock.dockLocationChanged.connect(self.dress)
        dock.topLevelChanged.connect(self.dress)
        self._docks[name] = dock
        return dock

    def dock(self, name: str) -> QDockWidget:
        return self._docks[name]

    def all(self) -> tuple[QDockWidget, ...]:
        return tuple(self._docks.values())

    def arrange(self) -> None:
        """The first layout: layers left, treatment and recipe as tabs right, the rest as tabs below."""
        if self._first is not None:
            self._restore(self._first)
        else:
            self._put_together()
            self._first = self._window.saveState()
        self.dress()
        self.share_out()

    def _put_together(self) -> None:
        for name, dock in self._docks.items():
            dock.setFloating(False)
            self._window.addDockWidget(_AREAS.get(name, BOTTOM), dock)
            dock.show()
        for tabs in (self._in(RIGHT), self._in(BOTTOM)):
            for first, second in pairwise(tabs):
                self._window.tabifyDockWidget(first, second)
            if tabs:
                tabs[0].raise_()
        corners = Qt.Corner
        self._window.setCorner(corners.BottomLeftCorner, BOTTOM)
        self._window.setCorner(corners.BottomRightCorner, BOTTOM)

    def share_out(self) -> None:
        """Give the docks their share of the window."""
        width, height = self._window.width(), self._window.height()
        sides = [self._docks["layers"], self._docks["treatment"]]
        widths = [max(least, min(most, round(width * share))) for share, least, most in _side_limits()]
        self._window.resizeDocks(sides, widths, Qt.Orientation.Horizontal)
        below = self._in(BOTTOM)
        if below:
            tall = max(150, round(height * _BOTTOM_SHARE))
            self._window.resizeDocks(below[:1], [tall], Qt.Orientation.Vertical)

    def _in(self, area: Qt.DockWidgetArea) -> list[QDockWidget]:
        """The docks whose place is in an area, wherever they are now."""
        return [dock for name, dock in self._docks.items() if _AREAS.get(name, BOTTOM) == area]

    def set_shown(self, shown: bool) -> None:
        for dock in self._docks.values():
            dock.setVisible(shown)
            dock.toggleViewAction().setEnabled(shown)

    def show(self, name: str) -> None:
        dock = self._docks[name]
        dock.show()
        dock.raise_()
        focus_inside(dock.widget())

    def fill_menu(self, menu: QMenu) -> None:
        for dock in self._docks.values():
            menu.addAction(dock.toggleViewAction())

    def keep(self, preferences: Preferences) -> None:
        preferences.keep_layout("docks", self._window.saveState())

    def restore(self, preferences: Preferences) -> bool:
        """Put the docks where they were; False when nothing fitting is remembered."""
        state = preferences.layout("docks")
        return state is not None and self._restore(state)

    def _restore(self, state: QByteArray) -> bool:
        """Restore a layout without ghosts: Qt makes new tab bars, and deletes the old ones later, still shown."""
        options = Qt.FindChildOption.FindDirectChildrenOnly
        old = [bar for bar in self._window.findChildren(QTabBar, options=options) if bar.isVisible()]
        restored = self._window.restoreState(state)
        if restored:
            for bar in old:
                bar.hide()
        return restored

    def dress(self, *_: object) -> None:
        """A dock among tabs needs no title of its own: its tab says it."""
        for dock in self._docks.values():
            among_tabs = bool(self._window.tabifiedDockWidgets(dock)) and not dock.isFloating()
            if among_tabs and dock.titleBarWidget() is None:
                dock.setTitleBarWidget(QWidget(dock))
            elif not among_tabs and dock.titleBarWidget() is not None:
                bare = dock.titleBarWidget()
                dock.setTitleBarWidget(None)  # type: ignore[arg-type] # Qt: back to its own title bar
                bare.deleteLater()
        for bar in self._window.findChildren(QTabBar):
            if not bar.accessibleName():
                bar.setAccessibleName("Panels")
                bar.setDrawBase(False)


def focus_inside(widget: QWidget) -> None:
    """Give the focus to the first widget inside that takes it."""
    inside = [child for child in widget.findChildren(QWidget) if child.isVisibleTo(widget)]
    wants = Qt.FocusPolicy.TabFocus.value
    target = next((child for child in inside if child.focusPolicy().value & wants and child.isEnabled()), widget)
    target.setFocus(Qt.FocusReason.ShortcutFocusReason)


def _side_limits() -> tuple[tuple[float, int, int], ...]:
    return ((_SIDE_SHARES[0], 360, 600), (_SIDE_SHARES[1], 280, 440))
