"""Edits of settings: the changed instance, and what the undo step is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchvise.core.settings import indices_text, settings_of


def with_setting(instance: Any, name: str, value: object) -> Any:
    """The settings with one field changed, where they have such a field."""
    return replace(instance, **{name: value}) if hasattr(instance, name) else instance


def edit_title(kind: type[object], name: str, value: object) -> str:
    """ "Set bits to 4", "Switch weigh by importance on"."""
    declared = next(declared for declared in settings_of(kind) if declared.name == name)
    title = declared.title if declared.title.isupper() else f"{declared.title[:1].lower()}{declared.title[1:]}"
    if isinstance(value, bool):
        return f"Switch {title} {'on' if value else 'off'}"
    if isinstance(value, tuple):
        value = indices_text(value)
    shown = dict(declared.choices).get(str(value), value) if declared.choices else value
    empty = f"the {declared.empty}" if declared.empty else "nothing"
    return f"Set {title} to {shown if shown != '' else empty}"
