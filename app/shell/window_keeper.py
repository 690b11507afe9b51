"""Keeps the one window; a language is changed by building the window anew around the same session."""

from __future__ import annotations

from PySide6.QtCore import QObject, Qt

from benchvise.app.shell.main_window import MainWindow
from benchvise.app.shell.speech import speak
from benchvise.app.state.preference_values import PreferenceValues
from benchvise.app.state.session import Session
from benchvise.app.theme.appearance import set_font_size
from benchvise.app.theme.theme import theme_choice, theme_notifier
from benchvise.core.text import use_sizes

_BUILT_IN = ("language", "sizes", "font_percent")
"""Preferences that texts and widths are made of as a window is built."""


class WindowKeeper(QObject):
    """Document, engine and jobs belong to the session and stay; only what is seen is made again."""

    def __init__(self, session: Session) -> None:
        super().__init__(session.client)
        self._session = session
        self._dress()
        self.window = MainWindow(session)
        # Queued: the menu from which it was chosen belongs to the window that goes.
        session.preferences.chosen.connect(self._follow, Qt.ConnectionType.QueuedConnection)

    def _dress(self) -> None:
        choices = self._session.preferences.choices
        speak(choices.language)
        use_sizes(binary=choices.sizes == "binary")
        set_font_size(choices.font_percent)

    def _follow(self, before: PreferenceValues, now: PreferenceValues) -> None:
        theme_notifier().choose(theme_choice(now.theme))
        if any(getattr(before, name) != getattr(now, name) for name in _BUILT_IN):
            self.renew()

    def renew(self) -> None:
        """Put a window that speaks the chosen language in the place of the one that is shown."""
        seen = self.window.keep_look()
        self.window.retire()
        self._dress()
        self.window = MainWindow(self._session)
        self._session.document.announce()
        self.window.show()
        self.window.take_look(seen)
