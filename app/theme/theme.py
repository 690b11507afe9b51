"""The window's colours as values: light, dark, or as the system says."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

from PySide6.QtCore import QObject, Qt, Signal
from PySide6.QtGui import QGuiApplication

ThemeChoice = Literal["system", "light", "dark"]


@dataclass(frozen=True)
class Theme:
    """Colours as "#rrggbb". `before` and `after` are told apart by colour-blind people too (blue and orange)."""

    name: Literal["light", "dark"]
    window: str
    panel: str
    raised: str
    hover: str
    border: str
    text: str
    muted: str
    faint: str
    accent: str
    on_accent: str
    selection: str
    chip: str
    grid: str
    before: str
    after: str
    good: str
    warning: str
    error: str


LIGHT = Theme(
    name="light",
    window="#f3f4f6",
    panel="#ffffff",
    raised="#ffffff",
    hover="#eceef2",
    border="#d9dce2",
    text="#1b1e24",
    muted="#5a616d",
    faint="#8b919c",
    accent="#2563c9",
    on_accent="#ffffff",
    selection="#d6e4fa",
    chip="#f0f2f5",
    grid="#e8eaee",
    before="#3b74b8",
    after="#d9770f",
    good="#1f7a45",
    warning="#8a5d08",
    error="#bb2f2f",
)

DARK = Theme(
    name="dark",
    window="#191c20",
    panel="#202429",
    raised="#2a2f36",
    hover="#2f353d",
    border="#363c45",
    text="#e5e8ec",
    muted="#a3abb7",
    faint="#7b8490",
    accent="#6ea3f7",
    on_accent="#0f1722",
    selection="#263c5e",
    chip="#2a2f36",
    grid="#2c3239",
    before="#6fa6e6",
    after="#f2a04a",
    good="#62c38a",
    warning="#e3b452",
    error="#f08080",
)


class ThemeNotifier(QObject):
    """Says when the theme changed, by choice or because the system went light or dark."""

    changed = Signal()

    def __init__(self) -> None:
        super().__init__()
        self._choice: ThemeChoice = "system"
        self._theme = LIGHT

    @property
    def theme(self) -> Theme:
        return self._theme

    @property
    def choice(self) -> ThemeChoice:
        return self._choice

    def choose(self, choice: ThemeChoice) -> None:
        self._choice = choice
        self.follow()

    def follow(self, _: object = None) -> None:
        """Take the theme that the choice and the system ask for now."""
        theme = {"light": LIGHT, "dark": DARK}.get(self._choice) or _of_system()
        if theme != self._theme:
            self._theme = theme
            self.changed.emit()


def _of_system() -> Theme:
    if QGuiApplication.instance() is None:
        return LIGHT
    return DARK if QGuiApplication.styleHints().colorScheme() == Qt.ColorScheme.Dark else LIGHT


def theme_choice(name: str) -> ThemeChoice:
    """The choice of that name, the system's for an unknown one."""
    choices: tuple[ThemeChoice, ...] = ("system", "light", "dark")
    return next((choice for choice in choices if choice == name), "system")


@cache
def theme_notifier() -> ThemeNotifier:
    """The one source of theme changes in the process."""
    return ThemeNotifier()


def current_theme() -> Theme:
    return theme_notifier().theme
