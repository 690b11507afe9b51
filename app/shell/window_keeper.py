"""Keeps the one window; a language is changed by building the window anew around the same session."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt

from benchvise.app.shell.main_window import MainWindow
from benchvise.app.shell.speech import speak
from benchvise.app.state.session import Session


class WindowKeeper(QObject):
    """Document, engine and jobs belong to the session and stay; only what is seen is made again."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.client)
        self._session = session
        speak(session.preferences.language)
        self.window = MainWindow(session)
        # Queued: the menu from which it was chosen belongs to the window that goes.
        session.preferences.language_changed.connect(self.renew, Qt.ConnectionType.QueuedConnection)

    def renew(self) -> None:
        """Put a window that speaks the chosen language in the place of the one that is shown."""
        seen = self.window.keep_look()
        self.window.retire()
        speak(self._session.preferences.language)
        self.window = MainWindow(self._session)
        self._session.document.announce()
        self.window.show()
        self.window.take_look(seen)
