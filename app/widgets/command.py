"""Commands as values, and the Qt actions made of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial

from PySide6.QtCore import QObject, Qt
from PySide6.QtGui import QAction, QKeySequence
from PySide6.QtWidgets import QWidget

from benchvise.app.theme.icons import icon
from benchvise.app.theme.theme import theme_notifier
from benchvise.core.language import message

OPEN_FIRST = message("Open a checkpoint first")
NETWORK_FIRST = message("Open a language model first: a config.json must name its architecture")
RUN_FIRST = message("Run a recipe first, or choose a run under Compare")
RECIPE_FIRST = message("The recipe is empty: choose a treatment or a preset first")
"""What commands need, for `Command.needs`."""


def always() -> bool:
    return True


@dataclass(frozen=True)
class Command:
    """Something a person can ask for.

    text:    the title as it stands now, where it changes ("Pause" / "Resume"); None when it never does.
    checked: makes it a switch.
    palette: whether the command palette offers it. needs: what is missing while it is not enabled.
    """

    id: str
    title: str
    callback: Callable[[], object]
    shortcut: str = ""
    icon: str = ""
    help: str = ""
    enabled: Callable[[], bool] = always
    text: Callable[[], str] | None = None
    checked: Callable[[], bool] | None = None
    palette: bool = True
    needs: str = ""


class Commands(QObject):
    """All commands with their actions; actions live on the window, so their shortcuts work everywhere in it."""

    def __init__(self, window: QWidget, keys_of: Callable[[str], str | None] = lambda _: None) -> None:
        """keys_of: the keys that a person gave to a command, None where its own are kept."""
        super().__init__(window)
        self._window = window
        self._keys_of = keys_of
        self._keys: dict[str, str] = {}
        self._commands: dict[str, Command] = {}
        self._actions: dict[str, QAction] = {}
        theme_notifier().changed.connect(self._paint_icons)

    def add(self, commands: Iterable[Command]) -> None:
        """Make actions of more commands. Raises ValueError when two have the same id."""
        for command in commands:
            if command.id in self._commands:
                raise ValueError(f"two commands are called '{command.id}'")
            self._commands[command.id] = command
            self._actions[command.id] = self._action(command)
            given = self._keys_of(command.id)
            self.set_keys(command.id, command.shortcut if given is None else given)

    def all(self) -> tuple[Command, ...]:
        return tuple(self._commands.values())

    def __getitem__(self, name: str) -> Command:
        return self._commands[name]

    def keys(self, name: str) -> str:
        """The keys of a command as they are now, "" for none."""
        return self._keys[name]

    def with_keys(self, keys: str) -> str:
        """The command that has these keys, "" for none."""
        return next((name for name, have in self._keys.items() if have == keys), "")

    def set_keys(self, name: str, keys: str) -> None:
        command, action = self._commands[name], self._actions[name]
        self._keys[name] = keys
        action.setShortcut(QKeySequence(keys))
        shown = f" ({keys})" if keys else ""
        action.setToolTip(f"{command.help or command.title.rstrip(' …')}{shown}")

    def action(self, name: str) -> QAction:
        return self._actions[name]

    def refresh(self) -> None:
        """Bring what is enabled, checked and written on the actions up to date."""
        for command in self._commands.values():
            action = self._actions[command.id]
            action.setEnabled(command.enabled())
            if command.checked is not None:
                action.setChecked(command.checked())
            if command.text is not None:
                action.setText(command.text())

    def _action(self, command: Command) -> QAction:
        action = QAction(command.title, self._window)
        action.setObjectName(command.id)
        action.setShortcutContext(Qt.ShortcutContext.WindowShortcut)
        if command.icon:
            action.setIcon(icon(command.icon))
        action.setCheckable(command.checked is not None)
        action.triggered.connect(partial(_run, command))
        self._window.addAction(action)
        return action

    def _paint_icons(self) -> None:
        for command in self._commands.values():
            if command.icon:
                self._actions[command.id].setIcon(icon(command.icon))


def _run(command: Command, _checked: bool = False) -> None:
    command.callback()
