"""Where commands stand: menus and toolbar, as data."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from PySide6.QtCore import QSize, Qt
from PySide6.QtWidgets import QMainWindow, QMenu, QSizePolicy, QToolBar, QToolButton, QWidget

from benchvise.app.theme.icons import icon
from benchvise.app.widgets.command import Commands
from benchvise.core.language import message, tr

LINE = "-"
HEIGHT = 40
"""Of the toolbar, in pixels."""


@dataclass(frozen=True)
class Submenu:
    """A menu whose entries are made anew each time it opens."""

    id: str
    title: str
    icon: str
    fill: Callable[[QMenu], None]


MENUS: tuple[tuple[str, str], ...] = (
    (
        message("File"),
        "open-folder open-file open-sample >recent - load-recipe save-recipe export - workspace close-checkpoint quit",
    ),
    (message("Edit"), "undo redo - filter copy-names keep-selected lock-selected - clear-finished - preferences"),
    (message("View"), ">theme >language >docks below - next-dock >plots - reset-layout"),
    (message("Recipe"), ">presets presets - load-recipe save-recipe - clear-recipe"),
    (
        message("Run"),
        "run check pause cancel - fit sensitivity evaluate latency forecast - export report - clear-finished",
    ),
    (message("Help"), "palette shortcuts - log - about"),
)
"""(title, entries): ids of commands, `-` a line, `>id` a submenu."""
TOOLBAR = "open-folder>open - undo redo - =runtime fit >presets - run =measure pause - export"
"""Entries as in menus; `name>id` a command with a submenu, `=name` a widget of its own."""
TOOLBAR_WITH_TEXT = frozenset({"open-folder", "fit", "run", "export"})


def fill_menu_bar(window: QMainWindow, commands: Commands, submenus: dict[str, Submenu]) -> None:
    for title, entries in MENUS:
        menu = window.menuBar().addMenu(tr(title))
        menu.setToolTipsVisible(True)
        for entry in entries.split():
            if entry == LINE:
                menu.addSeparator()
            elif entry.startswith(">"):
                _add_submenu(menu, submenus[entry[1:]])
            else:
                menu.addAction(commands.action(entry))


def make_toolbar(
    window: QMainWindow, commands: Commands, submenus: dict[str, Submenu], widgets: dict[str, QWidget]
) -> QToolBar:
    bar = QToolBar(tr("Toolbar"), window)
    bar.setObjectName("toolbar")
    bar.setMovable(False)
    bar.setContextMenuPolicy(Qt.ContextMenuPolicy.PreventContextMenu)
    bar.setIconSize(QSize(18, 18))
    bar.setFixedHeight(HEIGHT)
    bar.setContentsMargins(0, 0, 0, 0)
    for entry in TOOLBAR.split():
        if entry == LINE:
            bar.addSeparator()
            continue
        if entry.startswith("="):
            bar.addWidget(widgets[entry[1:]])
            continue
        name, _, more = entry.partition(">")
        if not name:
            bar.addWidget(_menu_button(submenus[more]))
            continue
        bar.addAction(commands.action(name))
        button = bar.widgetForAction(commands.action(name))
        assert isinstance(button, QToolButton)
        _dress(button, with_text=name in TOOLBAR_WITH_TEXT)
        if more:
            button.setMenu(_filled(QMenu(button), submenus[more]))
            button.setPopupMode(QToolButton.ToolButtonPopupMode.MenuButtonPopup)
    space = QWidget()
    space.setSizePolicy(QSizePolicy.Policy.Expanding, QSizePolicy.Policy.Preferred)
    bar.addWidget(space)
    bar.addAction(commands.action("palette"))
    button = bar.widgetForAction(commands.action("palette"))
    assert isinstance(button, QToolButton)
    _dress(button, with_text=True)
    window.addToolBar(bar)
    return bar


def _dress(button: QToolButton, *, with_text: bool) -> None:
    styles = Qt.ToolButtonStyle
    button.setToolButtonStyle(styles.ToolButtonTextBesideIcon if with_text else styles.ToolButtonIconOnly)
    button.setFocusPolicy(Qt.FocusPolicy.TabFocus)
    action = button.defaultAction()
    if action is not None:
        button.setAccessibleName(action.text())


def _menu_button(submenu: Submenu) -> QToolButton:
    button = QToolButton()
    button.setText(submenu.title)
    button.setIcon(icon(submenu.icon))
    button.setProperty("iconName", submenu.icon)
    button.setPopupMode(QToolButton.ToolButtonPopupMode.InstantPopup)
    button.setMenu(_filled(QMenu(button), submenu))
    _dress(button, with_text=True)
    return button


def _add_submenu(menu: QMenu, submenu: Submenu) -> None:
    added = menu.addMenu(submenu.title)
    if submenu.icon:
        added.setIcon(icon(submenu.icon))
    _filled(added, submenu)


def _filled(menu: QMenu, submenu: Submenu) -> QMenu:
    def fill() -> None:
        menu.clear()
        submenu.fill(menu)

    menu.setToolTipsVisible(True)
    menu.aboutToShow.connect(fill)
    return menu
