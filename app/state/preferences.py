"""What is remembered between starts: theme, recent files, workspace, and the window's layout."""

from __future__ import annotations

import os
from pathlib import Path

from platformdirs import user_config_path
from PySide6.QtCore import QByteArray, QObject, QSettings, Signal

from benchvise.app.state.preference_values import PreferenceValues
from benchvise.core.errors import RecipeError
from benchvise.core.settings import Setting, Value, parse_settings, settings_of, to_mapping

MAX_RECENT = 12
LAYOUT_VERSION = 1
FILE_VARIABLE = "BENCHVISE_SETTINGS"
"""Names another settings file: for tests, and for people who keep several."""


def settings_file() -> Path:
    named = os.environ.get(FILE_VARIABLE)
    return Path(named) if named else user_config_path("benchvise", appauthor=False) / "window.ini"


def _as_kind(declared: Setting, stored: str) -> Value:
    """A stored text as the kind of value that the setting takes. Raises ValueError."""
    match declared.kind:
        case "boolean":
            return stored.lower() == "true"
        case "integer":
            return int(stored)
        case "number":
            return float(stored)
    return stored


class Preferences(QObject):
    """Typed access to the settings file.

    chosen: (choices before, choices now).
    """

    recent_changed = Signal()
    chosen = Signal(object, object)

    def __init__(self, file: Path | None = None, parent: QObject | None = None) -> None:
        super().__init__(parent)
        self._store = QSettings(str(file or settings_file()), QSettings.Format.IniFormat, self)

    @property
    def recipes(self) -> Path:
        """The folder of recipes that are kept without being asked for."""
        return Path(self._store.fileName()).parent / "recipes"

    @property
    def choices(self) -> PreferenceValues:
        """What was chosen; a value that does not fit counts as not chosen."""
        values = {}
        for declared in settings_of(PreferenceValues):
            stored = self._store.value(declared.name)
            if stored is not None:
                try:
                    values[declared.name] = getattr(
                        parse_settings(PreferenceValues, {declared.name: _as_kind(declared, str(stored))}, where=""),
                        declared.name,
                    )
                except (RecipeError, ValueError):
                    continue
        return PreferenceValues(**values)

    def choose(self, **values: Value) -> None:
        """Store choices, by name. Raises RecipeError for a value that is out of bounds."""
        before = self.choices
        now = parse_settings(PreferenceValues, {**to_mapping(before), **values}, where="")
        for name, value in to_mapping(now).items():
            self._store.setValue(name, value)
        if now != before:
            self.chosen.emit(before, now)

    def shortcut(self, command: str) -> str | None:
        """The keys that were given to a command, "" for none; None where its own are kept."""
        stored = self._store.value(f"shortcuts/{command}")
        return None if stored is None else str(stored)

    def set_shortcut(self, command: str, keys: str | None) -> None:
        if keys is None:
            self._store.remove(f"shortcuts/{command}")
        else:
            self._store.setValue(f"shortcuts/{command}", keys)

    @property
    def workspace(self) -> str:
        """The chosen workspace folder; "" for the default place."""
        return str(self._store.value("workspace", "") or "")

    @workspace.setter
    def workspace(self, path: str) -> None:
        self._store.setValue("workspace", path)

    @property
    def runtime(self) -> str:
        """Key of the runtime that results are made for; "" for any."""
        return str(self._store.value("runtime", "") or "")

    @runtime.setter
    def runtime(self, key: str) -> None:
        self._store.setValue("runtime", key)

    @property
    def then_measure(self) -> bool:
        """Whether a finished run is evaluated and timed at once."""
        return str(self._store.value("then_measure", "true")).lower() == "true"

    @then_measure.setter
    def then_measure(self, on: bool) -> None:
        self._store.setValue("then_measure", on)

    @property
    def recent(self) -> tuple[str, ...]:
        """Paths opened before, the latest first."""
        stored = self._store.value("recent", [])
        paths = [stored] if isinstance(stored, str) else list(stored) if isinstance(stored, list) else []
        return tuple(str(path) for path in paths if path)

    def add_recent(self, path: str) -> None:
        others = [known for known in self.recent if known != path]
        self._store.setValue("recent", [path, *others][:MAX_RECENT])
        self.recent_changed.emit()

    def remove_recent(self, path: str) -> None:
        self._store.setValue("recent", [known for known in self.recent if known != path])
        self.recent_changed.emit()

    def clear_recent(self) -> None:
        self._store.remove("recent")
        self.recent_changed.emit()

    @property
    def last_folder(self) -> str:
        return str(self._store.value("last_folder", "") or "")

    @last_folder.setter
    def last_folder(self, path: str) -> None:
        self._store.setValue("last_folder", path)

    def layout(self, part: str) -> QByteArray | None:
        """A remembered part of the layout ("geometry", "docks", …); None when it is of another version."""
        if self._store.value("layout/version") not in (LAYOUT_VERSION, str(LAYOUT_VERSION)):
            return None
        stored = self._store.value(f"layout/{part}")
        return stored if isinstance(stored, QByteArray) else None

    def keep_layout(self, part: str, state: QByteArray) -> None:
        self._store.setValue("layout/version", LAYOUT_VERSION)
        self._store.setValue(f"layout/{part}", state)

    def forget_layout(self) -> None:
        self._store.remove("layout")
