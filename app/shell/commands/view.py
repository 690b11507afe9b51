"""What View and Help do: theme, docks, plot tabs, palette, shortcuts, about."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Protocol

from PySide6.QtWidgets import QMenu

from benchvise.app.shell.about import show_about
from benchvise.app.shell.command_palette import CommandPalette
from benchvise.app.shell.shortcuts import show_shortcuts
from benchvise.app.state.session import Session
from benchvise.app.theme.theme import ThemeChoice, theme_notifier
from benchvise.app.widgets.command import OPEN_FIRST, Command, Commands
from benchvise.core.language import LANGUAGES, message, tr

THEMES: tuple[tuple[ThemeChoice, str], ...] = (
    ("system", message("After the system")),
    ("light", message("Light")),
    ("dark", message("Dark")),
)
PLOT_TABS = 9


class Viewed(Protocol):
    """What these commands need of the window."""

    def show_plot(self, number: int) -> None: ...

    def plot_titles(self) -> tuple[str, ...]: ...

    def next_dock(self) -> None: ...

    def quit(self) -> None: ...

    def reset_layout(self) -> None: ...

    def close_topmost(self) -> None: ...

    def show_dock(self, name: str) -> None: ...

    def toggle_below(self) -> None: ...

    def show_preferences(self, label: str) -> None: ...


class ViewCommands:
    """Changes how things are seen, never the document."""

    def __init__(self, session: Session, window: Viewed, palette: CommandPalette, commands: Commands) -> None:
        self._session = session
        self._window = window
        self._palette = palette
        self._commands = commands

    def make(self, *, filter_layers: Callable[[], object], copy_names: Callable[[], object]) -> tuple[Command, ...]:
        document, window = self._session.document, self._window
        undo = document.undo

        def is_open() -> bool:
            return document.checkpoint is not None

        def undo_text() -> str:
            return tr("Undo {lowered}", lowered=_lowered(undo.undoText())).strip()

        def redo_text() -> str:
            return tr("Redo {lowered}", lowered=_lowered(undo.redoText())).strip()

        plots = tuple(
            Command(
                f"plot-{n}",
                tr("Plot tab {n}", n=n),
                partial(window.show_plot, n - 1),
                str(n),
                "mdi6.chart-box-outline",
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            )
            for n in range(1, PLOT_TABS + 1)
        )
        themes = tuple(
            Command(
                f"theme-{choice}",
                tr("Theme: {title}", title=tr(title).lower()),
                partial(self.choose_theme, choice),
                icon="mdi6.theme-light-dark",
                checked=partial(_is_chosen, choice),
            )
            for choice, title in THEMES
        )
        languages = tuple(
            Command(
                f"language-{code or 'system'}",
                title,
                partial(self.choose_language, code),
                icon="mdi6.translate",
                checked=partial(self._is_spoken, code),
            )
            for code, title in _languages()
        )
        return (
            Command(
                "undo",
                tr("Undo"),
                undo.undo,
                "Ctrl+Z",
                "mdi6.undo",
                enabled=undo.canUndo,
                needs=tr("There is nothing to undo"),
                text=undo_text,
            ),
            Command(
                "redo",
                tr("Redo"),
                undo.redo,
                "Ctrl+Shift+Z",
                "mdi6.redo",
                enabled=undo.canRedo,
                needs=tr("There is nothing to redo"),
                text=redo_text,
            ),
            Command(
                "filter",
                tr("Filter layers"),
                filter_layers,
                "Ctrl+F",
                "mdi6.magnify",
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command(
                "copy-names",
                tr("Copy layer names"),
                copy_names,
                "Ctrl+Shift+C",
                "mdi6.content-copy",
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command("next-dock", tr("Next panel"), window.next_dock, "F6", "mdi6.arrow-right-bold-box-outline"),
            Command("reset-layout", tr("Reset the layout"), window.reset_layout, icon="mdi6.view-dashboard-outline"),
            Command("close-topmost", tr("Close message or filter"), window.close_topmost, "Esc", palette=False),
            Command(
                "below",
                tr("Jobs, log and problems"),
                window.toggle_below,
                "Ctrl+J",
                "mdi6.dock-bottom",
                tr("Open or close jobs, log and problems"),
                enabled=is_open,
                needs=tr(OPEN_FIRST),
            ),
            Command("log", tr("Show the log"), lambda: window.show_dock("log"), icon="mdi6.text-box-outline"),
            Command(
                "palette",
                tr("Commands"),
                self._palette.open,
                "Ctrl+K",
                "mdi6.magnify",
                tr("Find any command"),
                palette=False,
            ),
            Command(
                "preferences",
                tr("Preferences …"),
                partial(window.show_preferences, ""),
                "Ctrl+,",
                "mdi6.cog-outline",
                tr("Language, theme, font size, keys, threads, workspace"),
            ),
            Command("shortcuts", tr("Keyboard shortcuts"), self._show_shortcuts, "F1", "mdi6.keyboard-outline"),
            Command(
                "about",
                tr("About Benchvise"),
                lambda: show_about(self._palette.window()),
                icon="mdi6.information-outline",
            ),
            Command("quit", tr("Quit"), window.quit, "Ctrl+Q", "mdi6.exit-to-app"),
            *plots,
            *themes,
            *languages,
        )

    def choose_theme(self, choice: ThemeChoice) -> None:
        self._session.preferences.choose(theme=choice)
        theme_notifier().choose(choice)
        self._commands.refresh()

    def choose_language(self, code: str) -> None:
        self._session.preferences.choose(language=code)

    def _is_spoken(self, code: str) -> bool:
        return self._session.preferences.choices.language == code

    def fill_languages(self, menu: QMenu) -> None:
        for code, title in _languages():
            entry = menu.addAction(title, partial(self.choose_language, code))
            entry.setCheckable(True)
            entry.setChecked(self._is_spoken(code))

    def fill_themes(self, menu: QMenu) -> None:
        for choice, title in THEMES:
            action = self._commands.action(f"theme-{choice}")
            entry = menu.addAction(tr(title), action.trigger)
            entry.setCheckable(True)
            entry.setChecked(theme_notifier().choice == choice)

    def fill_plots(self, menu: QMenu) -> None:
        for number, title in enumerate(self._window.plot_titles()):
            key = f"\t{number + 1}" if number < PLOT_TABS else ""
            menu.addAction(f"{tr(title)}{key}", partial(self._window.show_plot, number))

    def _show_shortcuts(self) -> None:
        show_shortcuts(self._commands, self._palette.window())


def _languages() -> tuple[tuple[str, str], ...]:
    """(code, name): the system's first; each is named in itself, so that who does not read the present one finds it."""
    return ("", tr("Language of the system")), *LANGUAGES.items()


def _is_chosen(choice: ThemeChoice) -> bool:
    return theme_notifier().choice == choice


def _lowered(title: str) -> str:
    """The title of an edit inside a sentence: "set bits to 4 on 1 layer"."""
    return f"{title[:1].lower()}{title[1:]}"
