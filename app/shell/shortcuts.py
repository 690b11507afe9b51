"""All keyboard shortcuts, from the list of commands."""

from __future__ import annotations

from PySide6.QtCore import Qt
from PySide6.QtWidgets import QDialog, QDialogButtonBox, QGridLayout, QLabel, QVBoxLayout, QWidget

from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.command import Commands
from benchvise.core.language import tr


def shortcut_lines(commands: Commands) -> list[tuple[str, str]]:
    """(shortcut, title) of every command that has one."""
    return [(keys, c.title.rstrip(" …")) for c in commands.all() if (keys := commands.keys(c.id))]


def show_shortcuts(commands: Commands, parent: QWidget) -> None:
    dialog = QDialog(parent)
    dialog.setWindowTitle(tr("Keyboard shortcuts"))
    grid = QGridLayout()
    grid.setHorizontalSpacing(2 * UNIT)
    lines = shortcut_lines(commands)
    half = -(-len(lines) // 2)
    for number, (key, title) in enumerate(lines):
        row, column = number % half, 2 * (number // half)
        shown = QLabel(key, alignment=Qt.AlignmentFlag.AlignRight)
        shown.setProperty("tone", "muted")
        grid.addWidget(shown, row, column)
        grid.addWidget(QLabel(title), row, column + 1)
    buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
    buttons.rejected.connect(dialog.reject)
    layout = QVBoxLayout(dialog)
    layout.setContentsMargins(3 * UNIT, 2 * UNIT, 3 * UNIT, 2 * UNIT)
    layout.setSpacing(2 * UNIT)
    layout.addLayout(grid)
    layout.addWidget(buttons)
    dialog.exec()
    dialog.deleteLater()
