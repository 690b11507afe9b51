"""Edits of settings: the changed instance, and what the undo step is called."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from benchvise.core.language import tr
from benchvise.core.settings import indices_text, settings_of


def with_setting(instance: Any, name: str, value: object) -> Any:
    """The settings with one field changed, where they have such a field."""
    return replace(instance, **{name: value}) if hasattr(instance, name) else instance


def edit_title(kind: type[object], name: str, value: object) -> str:
    """ "Set bits to 4", "Switch weigh by importance on"."""
    declared = next(declared for declared in settings_of(kind) if declared.name == name)
    title = tr(declared.title)
    title = title if title.isupper() else f"{title[:1].lower()}{title[1:]}"
    if isinstance(value, bool):
        return tr("Switch {title} {value}", title=title, value=tr("on") if value else tr("off"))
    if isinstance(value, tuple):
        value = indices_text(value)
    shown = dict(declared.choices).get(str(value), value) if declared.choices else value
    empty = tr("the {empty}", empty=tr(declared.empty)) if declared.empty else tr("nothing")
    return tr("Set {title} to {x}", title=title, x=shown if shown != "" else empty)
