"""The theme put on the application: Fusion style, palette, style sheet, fonts."""

from __future__ import annotations

from functools import partial
from importlib.resources import files
from pathlib import Path
from string import Template

from PySide6.QtGui import QColor, QFont, QPalette
from PySide6.QtWidgets import QApplication

from benchvise.app.theme.theme import Theme, ThemeChoice, current_theme, theme_notifier

_FOLLOWS = "benchviseFollowsTheme"
_SYSTEM_SIZE = "benchviseSystemFontSize"
UNIT = 8
"""The rhythm of all distances, in pixels."""


def apply_theme(application: QApplication, choice: ThemeChoice) -> None:
    """Put the look on the application, and keep it after the system's."""
    application.setStyle("Fusion")
    notifier = theme_notifier()
    notifier.choose(choice)
    _dress(application)
    if not application.property(_FOLLOWS):
        application.setProperty(_FOLLOWS, True)
        notifier.changed.connect(partial(_dress, application))
        application.styleHints().colorSchemeChanged.connect(notifier.follow)


def set_font_size(percent: int) -> None:
    """All texts that are made from now on, compared with the system's font."""
    application = QApplication.instance()
    assert isinstance(application, QApplication)
    size = application.property(_SYSTEM_SIZE) or application.font().pointSizeF()
    application.setProperty(_SYSTEM_SIZE, size)
    font = tabular(application.font())
    if size > 0:
        font.setPointSizeF(size * percent / 100)
        application.setFont(font)


def tabular(font: QFont) -> QFont:
    """The same font with figures of one width, so that changing numbers do not jump."""
    font = QFont(font)
    font.setFeature(QFont.Tag("tnum"), 1)
    return font


def scaled(font: QFont, factor: float, *, bold: bool = False) -> QFont:
    """A larger or smaller font of the same family, with tabular figures."""
    font = tabular(font)
    if font.pointSizeF() > 0:
        font.setPointSizeF(font.pointSizeF() * factor)
    else:
        font.setPixelSize(max(1, round(font.pixelSize() * factor)))
    font.setBold(bold)
    return font


def palette_of(theme: Theme) -> QPalette:
    roles = QPalette.ColorRole
    palette = QPalette()
    colours = {
        roles.Window: theme.window,
        roles.Base: theme.panel,
        roles.AlternateBase: theme.window,
        roles.Button: theme.raised,
        roles.ToolTipBase: theme.raised,
        roles.Text: theme.text,
        roles.WindowText: theme.text,
        roles.ButtonText: theme.text,
        roles.ToolTipText: theme.text,
        roles.BrightText: theme.error,
        roles.PlaceholderText: theme.muted,
        roles.Highlight: theme.selection,
        roles.HighlightedText: theme.text,
        roles.Accent: theme.accent,
        roles.Link: theme.accent,
        roles.LinkVisited: theme.accent,
        roles.Light: theme.hover,
        roles.Midlight: theme.hover,
        roles.Mid: theme.border,
        roles.Dark: theme.border,
        roles.Shadow: theme.border,
    }
    for role, colour in colours.items():
        palette.setColor(role, QColor(colour))
    for role in (roles.Text, roles.WindowText, roles.ButtonText, roles.HighlightedText):
        palette.setColor(QPalette.ColorGroup.Disabled, role, QColor(theme.faint))
    return palette


_SHEET = Template("""
QMainWindow::separator { background: $window; width: 6px; height: 6px; }
QMainWindow::separator:hover { background: $accent; }
QToolBar { background: $window; border: none; border-bottom: 1px solid $border; padding: 2px 8px; spacing: 4px; }
QToolBar#scoreboard { background: $panel; padding: 0; spacing: 0; }
QToolBar::separator { background: $border; width: 1px; margin: 4px 6px; }
QToolBar QToolButton { padding: 3px 8px; }
QToolButton { padding: 5px 8px; border-radius: 5px; border: 1px solid transparent; }
QToolButton:hover:enabled { background: $hover; }
QToolButton:pressed, QToolButton:checked { background: $selection; }
QToolButton:focus { border-color: $accent; }
QToolButton::menu-indicator { image: none; width: 0; }
QToolButton::menu-button { border: none; border-radius: 5px; width: 18px; }
QToolButton::menu-button:hover { background: $selection; }
QToolButton[popupMode="1"] { padding-right: 22px; }
QMenuBar { background: $window; padding: 2px 4px; }
QMenuBar::item { padding: 4px 8px; border-radius: 4px; background: transparent; }
QMenuBar::item:selected { background: $hover; }
QMenu { background: $raised; border: 1px solid $border; padding: 4px; }
QMenu::item { padding: 5px 24px 5px 8px; border-radius: 4px; }
QMenu::icon { padding-left: 6px; }
QMenu::item:selected { background: $selection; }
QMenu::item:disabled { color: $faint; }
QMenu::separator { height: 1px; background: $border; margin: 4px 8px; }
QDockWidget { titlebar-close-icon: none; }
QDockWidget::title { background: $window; padding: 6px 8px; text-align: left; }
QTabWidget::pane { border: none; border-top: 1px solid $border; background: $panel; }
QTabBar { background: $window; }
QTabBar::tab {
    background: transparent; color: $muted; padding: 6px 7px; border: none; border-bottom: 2px solid transparent;
}
QTabBar::tab:selected { color: $text; border-bottom: 2px solid $accent; }
QTabBar::tab:hover:!selected { color: $text; background: $hover; }
QTabBar::tab:focus { background: $hover; }
QTabBar QToolButton { padding: 0; background: $window; border-radius: 0; }
QTabBar QToolButton::left-arrow { image: url("$icons/arrow-left-$name.svg"); width: 10px; height: 10px; }
QTabBar QToolButton::right-arrow { image: url("$icons/arrow-right-$name.svg"); width: 10px; height: 10px; }
QTreeView, QTableView, QListView, QPlainTextEdit { background: $panel; border: none; }
QTreeView::item, QTableView::item, QListView::item { padding: 3px 4px; border: none; }
QTreeView::item:hover, QListView::item:hover { background: $hover; }
QTreeView::item:selected, QTableView::item:selected, QListView::item:selected { background: $selection; color: $text; }
QHeaderView { background: $panel; }
QHeaderView::section {
    background: $panel; color: $muted; padding: 4px; border: none; border-bottom: 1px solid $border;
}
QLineEdit, QSpinBox, QDoubleSpinBox, QComboBox {
    background: $panel; border: 1px solid $border; border-radius: 5px; padding: 3px 6px; min-height: 20px;
    selection-background-color: $selection; selection-color: $text; placeholder-text-color: $muted;
}
QSpinBox, QDoubleSpinBox { qproperty-alignment: 'AlignRight | AlignVCenter'; padding-right: 4px; }
QLineEdit:focus, QSpinBox:focus, QDoubleSpinBox:focus, QComboBox:focus { border-color: $accent; }
QLineEdit:disabled, QSpinBox:disabled, QDoubleSpinBox:disabled, QComboBox:disabled {
    color: $faint; background: $window;
}
QToolBar QComboBox { min-height: 16px; padding: 2px 6px; }
QComboBox::drop-down { border: none; width: 20px; }
QComboBox::down-arrow, QSpinBox::down-arrow, QDoubleSpinBox::down-arrow { image: url("$icons/arrow-down-$name.svg"); }
QSpinBox::up-arrow, QDoubleSpinBox::up-arrow { image: url("$icons/arrow-up-$name.svg"); }
QSpinBox::up-button, QDoubleSpinBox::up-button, QSpinBox::down-button, QDoubleSpinBox::down-button {
    border: none; width: 18px; background: transparent;
}
QToolButton::menu-arrow { image: url("$icons/arrow-down-$name.svg"); width: 10px; height: 10px; }
QComboBox QAbstractItemView { background: $raised; border: 1px solid $border; }
QPushButton {
    background: $raised; border: 1px solid $border; border-radius: 5px; padding: 5px 12px; min-height: 18px;
}
QPushButton:hover:enabled { background: $hover; }
QPushButton:pressed { background: $selection; }
QPushButton:focus { border-color: $accent; }
QPushButton:disabled { color: $faint; background: $window; }
QPushButton[primary="true"] { background: $accent; color: $on_accent; border-color: $accent; }
QPushButton[primary="true"]:disabled { background: $window; color: $faint; border-color: $border; }
QPushButton[primary="true"]:focus { border: 2px solid $selection; padding: 4px 11px; }
QCheckBox::indicator {
    width: 14px; height: 14px; border: 1px solid $faint; border-radius: 4px; background: $panel;
}
QCheckBox::indicator:checked { background: $accent; border-color: $accent; image: url("$icons/check-$name.svg"); }
QCheckBox::indicator:indeterminate { image: url("$icons/dash-$name.svg"); }
QCheckBox::indicator:focus, QCheckBox::indicator:hover { border-color: $accent; }
QCheckBox:focus, QRadioButton:focus { color: $accent; }
QRadioButton::indicator {
    width: 12px; height: 12px; border: 1px solid $muted; border-radius: 7px; background: $panel;
}
QRadioButton::indicator:checked { border: 4px solid $accent; width: 6px; height: 6px; background: $on_accent; }
QRadioButton::indicator:hover, QRadioButton::indicator:focus { border-color: $accent; }
QDialogButtonBox { dialogbuttonbox-buttons-have-icons: 0; }
QSlider::groove:horizontal { height: 4px; background: $grid; border-radius: 2px; }
QSlider::sub-page:horizontal { background: $accent; border-radius: 2px; }
QSlider::handle:horizontal {
    width: 14px; height: 14px; margin: -6px 0; border-radius: 8px; background: $raised; border: 1px solid $faint;
}
QSlider::handle:horizontal:hover, QSlider::handle:horizontal:focus { border-color: $accent; }
QProgressBar {
    background: $grid; border: none; border-radius: 3px; max-height: 6px; min-height: 6px; text-align: center;
}
QProgressBar::chunk { background: $accent; border-radius: 3px; }
QStatusBar { background: $window; border-top: 1px solid $border; }
QStatusBar::item { border: none; }
QStatusBar QToolButton { padding: 1px 6px; border-radius: 4px; }
QScrollBar { background: transparent; border: none; }
QScrollBar:vertical { width: 10px; }
QScrollBar:horizontal { height: 10px; }
QScrollBar::handle { background: $border; border-radius: 3px; margin: 2px; }
QScrollBar::handle:hover { background: $faint; }
QScrollBar::handle:vertical { min-height: 28px; }
QScrollBar::handle:horizontal { min-width: 28px; }
QScrollBar::add-line, QScrollBar::sub-line { width: 0; height: 0; }
QScrollBar::add-page, QScrollBar::sub-page { background: transparent; }
QAbstractScrollArea::corner { background: $panel; border: none; }
QScrollArea { border: none; background: $panel; }
QToolTip { background: $raised; color: $text; border: 1px solid $border; padding: 4px; }
*[surface="panel"] { background: $panel; }
*[surface="corner"] { background: $raised; border: 1px solid $border; border-radius: 5px; }
*[surface="corner"] QToolButton { padding: 3px 5px; }
*[surface="popover"] { background: $raised; border: 1px solid $border; border-radius: 5px; }
QPushButton[role="chip"] {
    background: $chip; color: $text; border: none; border-radius: 4px; padding: 2px 7px; min-height: 18px;
}
QPushButton[role="chip"]:hover { background: $selection; }
QPushButton[role="choice"] { padding: 3px 8px; border-radius: 4px; }
QPushButton[role="choice"]:checked { background: $selection; border-color: $accent; color: $accent; }
QPushButton::menu-indicator { image: none; width: 0; }
*[surface="drop"] { border: 1px dashed $faint; border-radius: 8px; color: $muted; }
QToolButton[role="key"] { padding: 1px 6px; }
QToolButton[role="key"]:checked { background: transparent; color: $text; }
QToolButton[role="key"]:!checked { color: $faint; }
*[tone="line"] { color: $border; }
QPushButton[role="card"] { background: $raised; border: 1px solid $border; border-radius: 8px; text-align: left; }
QPushButton[role="card"]:hover { background: $hover; }
QPushButton[role="card"]:checked { border: 2px solid $accent; }
*[surface="card"] { background: $raised; border: 1px solid $border; border-radius: 8px; }
*[tone="muted"] { color: $muted; }
*[tone="error"] { color: $error; }
*[tone="warning"] { color: $warning; }
""")


def style_sheet(theme: Theme) -> str:
    colours = {name: str(getattr(theme, name)) for name in Theme.__dataclass_fields__}
    icons = (Path(str(files("benchvise.resources"))) / "icons").as_posix()
    return _SHEET.substitute(colours, icons=icons)


def _dress(application: QApplication) -> None:
    theme = current_theme()
    application.setPalette(palette_of(theme))
    application.setStyleSheet(style_sheet(theme))
