"""How a method's settings are spelled in a short text such as "int4 g128 asym"."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from benchvise.core.settings import Value


@dataclass(frozen=True)
class Phrase:
    """One or several words that name values of settings.

    text:     with settings in braces ("g{group_size}"); `{fraction%}` stands for a hundred times the value.
    sets:     the values of settings that the phrase names without showing them.
    head:     the phrase begins the method's words and names the method.
    required: without the phrase the words name another method.
    """

    text: str
    sets: Mapping[str, Value] = field(default_factory=dict)
    head: bool = False
    required: bool = False


def head(text: str, **sets: Value) -> Phrase:
    return Phrase(text, sets, head=True)


def word(text: str, **sets: Value) -> Phrase:
    return Phrase(text, sets)
