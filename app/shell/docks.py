"""The docks around the middle: they share the window by rule, and what stands below opens when it has something."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from itertools import pairwise

from PySide6.QtCore import QByteArray, QObject, Qt, Signal
from PySide6.QtWidgets import QDockWidget, QMainWindow, QMenu, QTabBar, QTabWidget, QWidget

from benchvise.app.state.preferences import Preferences
from benchvise.core.language import tr

LEFT, RIGHT, BOTTOM = (
    Qt.DockWidgetArea.LeftDockWidgetArea,
    Qt.DockWidgetArea.RightDockWidgetArea,
    Qt.DockWidgetArea.BottomDockWidgetArea,
)
_AREAS = {"layers": LEFT, "treatment": RIGHT, "recipe": RIGHT}
"""Docks that are not named here stand below."""
_SIDES = {"left": LEFT, "right": RIGHT}
BELOW_HEIGHT = 176


@dataclass(frozen=True)
class _Share:
    """A part of the window's width, between two limits in pixels."""

    part: float
    least: int
    most: int

    def of(self, width: int) -> int:
        return max(self.least, min(self.most, round(width * self.part)))


_SHARES = {"layers": _Share(0.2375, 256, 400), "treatment": _Share(0.2065, 248, 280)}
_BY_HAND = 8
"""Pixels that a dock may differ from its share and still be where the rule put it."""


class Docks(QObject):
    """Named docks of a main window; hidden while no checkpoint is open.

    below_changed: the docks below were opened or closed.
    """

    below_changed = Signal()

    def __init__(self, window: QMainWindow) -> None:
        super().__init__(window)
        self._window = window
        self._docks: dict[str, QDockWidget] = {}
        self._first: QByteArray | None = None
        self._by_hand: dict[str, float] = {}
        self._tab = ""
        self._on_top: dict[str, QDockWidget] = {}
        self._folds: dict[tuple[str, str], bool] = {}
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
        dock.visibilityChanged.connect(widget.setEnabled)  # behind another tab, the focus must not go there
        if area == BOTTOM:
            dock.visibilityChanged.connect(lambda _: self.below_changed.emit())
        self._docks[name] = dock
        return dock

    def dock(self, name: str) -> QDockWidget:
        return self._docks[name]

    def all(self) -> tuple[QDockWidget, ...]:
        return tuple(self._docks.values())

    # The layout -----------------------------------------------------------------------------------------------------

    def arrange(self) -> None:
        """The first layout: layers left, treatment and recipe as tabs right, the rest as tabs below, closed."""
        self._by_hand, self._folds = {}, {}
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
        self.close_below()

    def share_out(self) -> None:
        """Give the docks their share of the window, or the share that a person gave them."""
        width = self._window.width()
        sides = [self._docks[name] for name in _SHARES]
        self._window.resizeDocks(sides, [self._share(name, width) for name in _SHARES], Qt.Orientation.Horizontal)
        below = self._opened_below()
        if below:
            self._window.resizeDocks(below[:1], [BELOW_HEIGHT], Qt.Orientation.Vertical)

    def follow(self, width_before: int) -> None:
        """The window has another width: share it out anew; a splitter that was moved by hand stays as a share."""
        for name in _SHARES:
            dock = self._docks[name]
            if dock.isVisible() and not dock.isFloating() and width_before > 0:
                expected = self._share(name, width_before)
                if abs(dock.width() - expected) > _BY_HAND:
                    self._by_hand[name] = dock.width() / width_before
        self.share_out()

    def _share(self, name: str, width: int) -> int:
        chosen = self._by_hand.get(name)
        return _SHARES[name].of(width) if chosen is None else max(_SHARES[name].least, round(width * chosen))

    def _in(self, area: Qt.DockWidgetArea) -> list[QDockWidget]:
        """The docks whose place is in an area, wherever they are now."""
        return [dock for name, dock in self._docks.items() if _AREAS.get(name, BOTTOM) == area]

    def set_shown(self, shown: bool) -> None:
        """Show or hide the docks at the sides; those below open when they are wanted."""
        for dock in self._docks.values():
            dock.toggleViewAction().setEnabled(shown)
        for dock in (*self._in(LEFT), *self._in(RIGHT)):
            dock.setVisible(shown)
        if not shown:
            self.close_below()

    def show(self, name: str) -> None:
        dock = self._docks[name]
        if dock in self._in(BOTTOM):
            self.open_below(name)
        dock.show()
        dock.raise_()
        focus_inside(dock.widget())

    # What a tab folds away ------------------------------------------------------------------------------------------

    def make_room(self, tab: str, folded: Collection[str]) -> None:
        """Fold away the sides that a tab does not need; what a person opened or closed on it stays so."""
        self._tab = tab
        for side in _SIDES:
            self._show_side(side, not self._folds.get((tab, side), side in folded))
        self.share_out()

    def toggle_side(self, side: str) -> None:
        """Fold or unfold a side for the current tab."""
        folded = self.side_is_open(side)
        self._folds[(self._tab, side)] = folded
        self._show_side(side, not folded)
        self.share_out()

    def side_is_open(self, side: str) -> bool:
        return any(not dock.isHidden() for dock in self._at_side(side))

    def _show_side(self, side: str, shown: bool) -> None:
        docks = self._at_side(side)
        if shown == self.side_is_open(side):
            return
        on_top = next((dock for dock in docks if not dock.visibleRegion().isEmpty()), None)
        if not shown and on_top is not None:
            self._on_top[side] = on_top
        for dock in docks:
            dock.setVisible(shown)
        if shown and docks:
            self._on_top.get(side, docks[0]).raise_()
            self.dress()

    def _at_side(self, side: str) -> list[QDockWidget]:
        return [dock for dock in self._in(_SIDES[side]) if not dock.isFloating()]

    # What stands below ----------------------------------------------------------------------------------------------

    def below_is_open(self) -> bool:
        return bool(self._opened_below())

    def shows(self, name: str) -> bool:
        """True while this dock can be seen: open, and on top of its tabs."""
        dock = self._docks[name]
        return dock.isVisible() and not dock.visibleRegion().isEmpty()

    def open_below(self, name: str) -> None:
        """Open the docks below, with this one on top; the focus stays where it is."""
        if not self.below_is_open():
            for dock in self._docked_below():
                dock.show()
            self.dress()
            self._window.resizeDocks(self._docked_below()[:1], [BELOW_HEIGHT], Qt.Orientation.Vertical)
        self._docks[name].show()
        self._docks[name].raise_()

    def close_below(self) -> None:
        """Close the docks below; what floats stays."""
        for dock in self._docked_below():
            dock.hide()

    def toggle_below(self, name: str = "jobs") -> None:
        """Open the docks below with this one on top; close them when it is there already."""
        if self.below_is_open() and self.shows(name):
            self.close_below()
        else:
            self.open_below(name)

    def touched_below(self) -> bool:
        """True while a person is at work below: the focus or the mouse is there."""
        return any(dock.underMouse() or _has_focus(dock) for dock in self._opened_below())

    def _docked_below(self) -> list[QDockWidget]:
        return [dock for dock in self._in(BOTTOM) if not dock.isFloating()]

    def _opened_below(self) -> list[QDockWidget]:
        return [dock for dock in self._docked_below() if not dock.isHidden()]

    # Menu, memory, dress --------------------------------------------------------------------------------------------

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
                bar.setAccessibleName(tr("Panels"))
                bar.setDrawBase(False)
                # Qt keeps bars of docks that are closed; the commands for panels go from tab to tab by keyboard.
                bar.setFocusPolicy(Qt.FocusPolicy.NoFocus)


def focus_inside(widget: QWidget) -> None:
    """Give the focus to the first widget inside that takes it."""
    inside = [child for child in widget.findChildren(QWidget) if child.isVisibleTo(widget)]
    wants = Qt.FocusPolicy.TabFocus.value
    target = next((child for child in inside if child.focusPolicy().value & wants and child.isEnabled()), widget)
    target.setFocus(Qt.FocusReason.ShortcutFocusReason)


def _has_focus(dock: QDockWidget) -> bool:
    focused = dock.window().focusWidget()
    return focused is not None and dock.isAncestorOf(focused) and focused.hasFocus()
