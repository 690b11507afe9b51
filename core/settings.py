"""Settings declared once: a frozen dataclass whose fields carry title, help, unit, bounds and choices.

The form in the window, the recipe's keys, their validation and the reference page are derived from `settings_of`.
"""

from __future__ import annotations

import dataclasses
import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeVar

from benchvise.core.errors import RecipeError

T = TypeVar("T")
Value = bool | int | float | str | tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Setting:
    """One field as people meet it.

    when:     (other field, its values) for which this one means something; None for always.
    requires: a capability the scheme must have for this field to mean something; "" for none.
    files:    endings of the files that a text names (".txt"); empty for a text that names none.
    empty:    what an empty text stands for, as a noun without an article.
    decides:  False for a setting that only says what to do where another one does not fit: equal results without it.

    A setting of kind "indices" is a tuple of distinct whole numbers in ascending order; a recipe holds it as a list.
    """

    name: str
    kind: Literal["integer", "number", "boolean", "choice", "text", "indices"]
    default: Value
    title: str
    help: str
    unit: str = ""
    minimum: float | None = None
    maximum: float | None = None
    suggestions: tuple[Value, ...] = ()
    choices: tuple[tuple[str, str], ...] = ()
    when: tuple[str, tuple[Value, ...]] | None = None
    requires: str = ""
    files: tuple[str, ...] = ()
    empty: str = ""
    decides: bool = True


def setting(
    default: Value,
    *,
    title: str,
    help: str,  # noqa: A002 - the word people know
    unit: str = "",
    minimum: float | None = None,
    maximum: float | None = None,
    suggestions: tuple[Value, ...] = (),
    choices: Mapping[str, str] | None = None,
    when: tuple[str, tuple[Value, ...]] | None = None,
    requires: str = "",
    files: tuple[str, ...] = (),
    empty: str = "",
    decides: bool = True,
) -> Any:
    """A dataclass field with everything that people and validation need to know about it."""
    kind: Literal["integer", "number", "boolean", "choice", "text", "indices"]
    if choices is not None:
        kind = "choice"
    elif isinstance(default, bool):
        kind = "boolean"
    elif isinstance(default, str):
        kind = "text"
    elif isinstance(default, tuple):
        kind = "indices"
    else:
        kind = "integer" if isinstance(default, int) else "number"
    declared = Setting(
        "",
        kind,
        default,
        title,
        help,
        unit,
        minimum,
        maximum,
        suggestions,
        tuple((choices or {}).items()),
        when,
        requires,
        files,
        empty,
        decides,
    )
    return dataclasses.field(default=default, metadata={"setting": declared})


def settings_of(kind: type[Any]) -> tuple[Setting, ...]:
    """The settings of a class, in the order of declaration."""
    return tuple(
        dataclasses.replace(field.metadata["setting"], name=field.name)
        for field in dataclasses.fields(kind)
        if "setting" in field.metadata
    )


def applicable(instance: object, capabilities: Iterable[str] = ()) -> tuple[Setting, ...]:
    """The settings that mean something for this instance: their `requires` is met and their `when` holds.

    A setting that hangs on one which means nothing itself means nothing either.
    """
    have = set(capabilities)
    known = {declared.name: declared for declared in settings_of(type(instance))}

    def applies(declared: Setting) -> bool:
        if declared.requires and declared.requires not in have:
            return False
        if declared.when is None:
            return True
        other, values = declared.when
        return getattr(instance, other) in values and applies(known[other])

    return tuple(declared for declared in known.values() if applies(declared))


def to_mapping(instance: object) -> dict[str, Value]:
    """Every setting that applies to the instance, by name: what a recipe stores."""
    capabilities = {declared.requires for declared in settings_of(type(instance))}
    return {declared.name: getattr(instance, declared.name) for declared in applicable(instance, capabilities)}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A sentence naming the nearest known word, or all of them when none is near."""
    names = sorted(known)
    if not names:
        return "None is known here."
    near = difflib.get_close_matches(word, names, n=1)
    return f"Did you mean '{near[0]}'?" if near else f"Known: {', '.join(names)}."


def parse_settings(kind: type[T], mapping: Mapping[str, object], *, where: str) -> T:
    """Build a settings instance from a recipe's mapping.

    Raises RecipeError that lists every unknown key, wrong type and value out of bounds together.
    """
    known = {declared.name: declared for declared in settings_of(kind)}
    problems: list[str] = []
    values: dict[str, Value] = {}
    for key, value in mapping.items():
        if key not in known:
            problems.append(f"unknown setting '{key}'. {did_you_mean(key, known)}")
            continue
        checked = _check(known[key], value)
        if isinstance(checked, _Problem):
            problems.append(checked.text)
        else:
            values[key] = checked
    if problems:
        raise RecipeError("; ".join(problems).rstrip("."), where=where, remedy="Correct the recipe and try again.")
    return settled(kind(**values))


def settled(instance: T) -> T:
    """The instance with every setting that does not apply at its default: equal meaning, equal value."""
    applies = to_mapping(instance)
    idle = {s.name: s.default for s in settings_of(type(instance)) if s.name not in applies}
    return dataclasses.replace(instance, **idle) if idle else instance  # type: ignore[type-var]


def validate(instance: object, *, where: str) -> None:
    """Check an instance that was built in code as if it came from a recipe. Raises RecipeError."""
    values = {declared.name: getattr(instance, declared.name) for declared in settings_of(type(instance))}
    parse_settings(type(instance), values, where=where)


@dataclass(frozen=True)
class _Problem:
    text: str


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # a whole number beyond what a float holds
        return False


def _indices(name: str, value: object) -> Value | _Problem:
    if isinstance(value, str):
        value = parse_indices(value)
    if not isinstance(value, list | tuple) or not all(
        isinstance(item, int) and not isinstance(item, bool) and item >= 0 for item in value
    ):
        return _Problem(f"'{name}' must be a list of whole numbers from 0, not {value!r}")
    twice = sorted({item for item in value if value.count(item) > 1})
    if twice:
        return _Problem(f"'{name}' names {', '.join(map(str, twice))} twice")
    return tuple(sorted(value))


def parse_indices(text: str) -> tuple[int, ...] | None:
    """The numbers in a text such as "3, 5, 8-11", in its order; None for a text that is no such list."""
    found: list[int] = []
    for part in text.replace(",", " ").split():
        first, dash, last = part.partition("-")
        if not first.isdecimal() or (dash and not last.isdecimal()):
            return None
        found += range(int(first), int(last or first) + 1)
    return tuple(found)


def indices_text(indices: Iterable[int]) -> str:
    """What `parse_indices` reads, with runs of three or more as ranges: "3, 5, 8-11"."""
    runs: list[list[int]] = []
    for index in indices:
        if runs and index == runs[-1][-1] + 1:
            runs[-1].append(index)
        else:
            runs.append([index])
    parts = [f"{run[0]}-{run[-1]}" if len(run) > 2 else ", ".join(map(str, run)) for run in runs]
    return ", ".join(parts)


def _check(declared: Setting, value: object) -> Value | _Problem:
    name = declared.name
    if declared.kind == "boolean":
        return value if isinstance(value, bool) else _Problem(f"'{name}' must be true or false, not {value!r}")
    if declared.kind == "choice":
        names = [choice for choice, _ in declared.choices]
        if isinstance(value, str) and value in names:
            return value
        return _Problem(f"'{name}' cannot be {value!r}. {did_you_mean(str(value), names)}")
    if declared.kind == "text":
        return value if isinstance(value, str) else _Problem(f"'{name}' must be text, not {value!r}")
    if declared.kind == "indices":
        return _indices(name, value)
    if isinstance(value, bool) or not isinstance(value, int | float) or not _finite(value):
        return _Problem(f"'{name}' must be a number, not {value!r}")
    if declared.kind == "integer" and value != int(value):
        return _Problem(f"'{name}' must be a whole number, not {value!r}")
    value = int(value) if declared.kind == "integer" else float(value)
    if declared.minimum is not None and value < declared.minimum:
        return _Problem(f"'{name}' is {value}, below its least value {declared.minimum:g}")
    if declared.maximum is not None and value > declared.maximum:
        return _Problem(f"'{name}' is {value}, above its greatest value {declared.maximum:g}")
    return value
