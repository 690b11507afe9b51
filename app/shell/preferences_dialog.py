"""Preferences: a form derived from what may be chosen, the workspace, and the keys of every command."""

from __future__ import annotations

from collections.abc import Callable

from PySide6.QtWidgets import QDialog, QDialogButtonBox, QLabel, QTabWidget, QVBoxLayout, QWidget

from benchvise.app.shell.shortcut_editor import ShortcutEditor
from benchvise.app.shell.workspace_section import WorkspaceSection
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import UNIT
from benchvise.app.widgets.command import Commands
from benchvise.app.widgets.settings_form import SettingsForm
from benchvise.core.language import tr

WIDTH = 520


class PreferencesDialog(QDialog):
    """Each change is in place at once; what changes how the window is built closes the dialog and builds it anew."""

    def __init__(self, session: Session, commands: Commands, move: Callable[[], object], parent: QWidget) -> None:
        """move: asks for another workspace."""
        super().__init__(parent)
        self._preferences = session.preferences
        self.setWindowTitle(tr("Preferences"))
        self.setMinimumWidth(WIDTH)
        self.form = SettingsForm()
        self.form.show_instances([self._preferences.choices])
        self.form.edited.connect(self._choose)
        self.workspace = WorkspaceSection(session, move)
        self.shortcuts = ShortcutEditor(commands, self._preferences)
        general = QWidget()
        column = QVBoxLayout(general)
        column.setContentsMargins(2 * UNIT, 2 * UNIT, 2 * UNIT, UNIT)
        column.setSpacing(2 * UNIT)
        column.addWidget(self.form)
        column.addWidget(self.workspace)
        column.addStretch(1)
        self.tabs = QTabWidget()
        self.tabs.addTab(general, tr("General"))
        self.tabs.addTab(self.shortcuts, tr("Shortcuts"))
        buttons = QDialogButtonBox(QDialogButtonBox.StandardButton.Close)
        buttons.rejected.connect(self.reject)
        layout = QVBoxLayout(self)
        layout.addWidget(self.tabs)
        layout.addWidget(buttons)

    def labels(self) -> tuple[str, ...]:
        """What can be chosen, as it is read: for who looks for one of them."""
        return tuple(label.text() for label in self.form.findChildren(QLabel) if label.buddy() is not None)

    def focus_on(self, label_text: str) -> None:
        """Put the keyboard on the field of that label."""
        for label in self.form.findChildren(QLabel):
            buddy = label.buddy()
            if label.text() == label_text and buddy is not None:
                buddy.setFocus()

    def _choose(self, name: str, value: object) -> None:
        self._preferences.choose(**{name: value})  # type: ignore[arg-type] # the form gives what the setting takes
        self.form.show_instances([self._preferences.choices])
