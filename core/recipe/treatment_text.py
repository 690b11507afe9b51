"""A treatment as a short text: "int4:g128:asym:gptq", and back.

The words of the scheme come first, then those of the solver, then those of the activations; a colon or a space stands
between them. What a word means is declared by the method (`core.methods.phrases`). A setting that has no word is
written as "clip_steps=40", and a method that has none goes by its key, so that every treatment can be written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

from benchvise.core.errors import RecipeError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.phrases import Phrase, head
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.recipe.recipe import Treatment, parse_treatment
from benchvise.core.settings import Setting, Value, did_you_mean, indices_text, parse_indices, settings_of

_GAP = r"[\s:]+"
_SLOT = re.compile(r"\{(\w+)(%?)\}")
_NUMBER = r"(?:\d+\.?\d*|\.\d+)(?:e[-+]?\d+)?"
_ASSIGNMENT = re.compile(r'(\w+)=("(?:[^"\\]|\\.)*"|[^\s:]*)(?=[\s:]|$)')
_EDGE = r"(?=[\s:]|$)"
_PLAIN = re.compile(r"[\w{}+×]+")


class _StuckError(Exception):
    """The words from `at` on have no meaning. known: what could stand there."""

    def __init__(self, at: int, known: Sequence[str], why: str = "") -> None:
        super().__init__(at)
        self.at, self.known, self.why = at, known, why


@dataclass(frozen=True)
class _Reader:
    """Reads one phrase of a method."""

    phrase: Phrase
    settings: Mapping[str, Setting]
    pattern: re.Pattern[str]

    def read(self, found: re.Match[str]) -> dict[str, Value]:
        values = dict(self.phrase.sets)
        for (name, percent), said in zip(_SLOT.findall(self.phrase.text), found.groups(), strict=True):
            value = _value(self.settings[name], said)
            values[name] = float(Decimal(said) / 100) if percent else value
        return values

    def written(self, values: Mapping[str, Value]) -> str | None:
        """The phrase for these values; None where they are others than it can say."""
        names = _names(self.phrase)
        if not names <= values.keys() or any(values[name] != value for name, value in self.phrase.sets.items()):
            return None
        return _SLOT.sub(lambda slot: str(values[slot[1]]), self.phrase.text).replace("×", "x")


def parse_treatment_text(text: str, *, where: str = "") -> Treatment:
    """The treatment that a text or a tag names.

    Raises RecipeError that shows the word without a meaning and the nearest one that has one, or the setting that is
    out of bounds, is named twice or means nothing beside the others.
    """
    furthest: _StuckError | None = None
    for scheme in SCHEMES.values():
        try:
            parts = _read_all(scheme, text)
        except _StuckError as stuck:
            furthest = stuck if furthest is None or stuck.at > furthest.at else furthest
            continue
        return _built(scheme.key, parts, where or text)
    assert furthest is not None
    raise _refusal(text, furthest, where)


def write_treatment(treatment: Treatment) -> str:
    """The shortest text in words that `parse_treatment_text` reads as an equal treatment."""
    mapping = treatment.to_mapping()
    spelled = _written(treatment, mapping, by_words=True)
    try:
        equal = parse_treatment_text(spelled).to_mapping() == mapping
    except RecipeError:
        equal = False
    return spelled if equal else _written(treatment, mapping, by_words=False)


def _refusal(text: str, stuck: _StuckError, where: str) -> RecipeError:
    rest = text[stuck.at :].strip(" :")
    bad = re.split(_GAP, rest, maxsplit=1)[0]
    why = stuck.why or (f"'{bad}' means nothing here" if bad else "more words are needed")
    names = stuck.known or sorted(example for kind in SCHEMES.values() for example in _examples(kind, heads=True))
    return RecipeError(f"'{text}' names no treatment: {why}", where=where, remedy=did_you_mean(bad, names))


def _read_all(scheme: type[Any], text: str) -> list[tuple[type[Any], dict[str, Value]]]:
    """Each method that is named and the settings it is given. Raises _StuckError."""
    at = _skip(text, 0)
    parts: list[tuple[type[Any], dict[str, Value]]] = []
    stages: tuple[tuple[type[Any], ...], ...] = ((scheme,), tuple(SOLVERS.values()), (Activations,))
    for stage, kinds in enumerate(stages):
        found = next((each for kind in kinds if (each := _begin(kind, text, at)) is not None), None)
        if found is None and not stage:
            raise _StuckError(0, ())
        if found is not None:
            kind, values, at, by_key = found
            at = _continue(kind, values, text, at, by_key=by_key)
            parts.append((kind, values))
    if at < len(text):
        later = [example for kinds in stages[1:] for kind in kinds for example in _examples(kind, heads=True)]
        raise _StuckError(at, [example for kind, _ in parts for example in _examples(kind)] + later)
    return parts


def _begin(kind: type[Any], text: str, at: int) -> tuple[type[Any], dict[str, Value], int, bool] | None:
    found = _longest(_readers(kind, heads=True), text, at)
    if found is None:
        return None
    values, end, said = found
    return kind, values, _skip(text, end), said == getattr(kind, "key", None)


def _continue(kind: type[Any], values: dict[str, Value], text: str, at: int, *, by_key: bool) -> int:
    """Take in what says more about the method, which its key or one of its words names; the end of it.

    Raises _StuckError.
    """
    readers, known = _readers(kind), {declared.name: declared for declared in settings_of(kind)}
    while at < len(text):
        more = _longest(readers, text, at)
        if more is None:
            assigned = _ASSIGNMENT.match(text, at)
            if assigned is None:
                break
            name = assigned[1]
            if name not in known:
                raise _StuckError(at, list(known), f"unknown setting '{name}'")
            more = {name: _value(known[name], assigned[2])}, assigned.end(), name
        twice = sorted(values.keys() & more[0].keys())
        if twice:
            raise _StuckError(at, (), f"'{twice[0]}' is set twice")
        values |= more[0]
        at = _skip(text, more[1])
    for reader in readers:
        if reader.phrase.required and not by_key and not _names(reader.phrase) <= values.keys():
            raise _StuckError(at, ())
    return at


def _longest(readers: Sequence[_Reader], text: str, at: int) -> tuple[dict[str, Value], int, str] | None:
    found = [(match, reader) for reader in readers if (match := reader.pattern.match(text, at)) is not None]
    if not found:
        return None
    match, reader = max(found, key=lambda each: each[0].end())
    return reader.read(match), match.end(), reader.phrase.text


def _built(scheme: str, parts: Sequence[tuple[type[Any], dict[str, Value]]], where: str) -> Treatment:
    axes = {kind: axis for known, axis in ((SCHEMES, "scheme"), (SOLVERS, "solver")) for kind in known.values()}
    mapping: dict[str, Any] = {}
    for kind, values in parts:
        lenient = {d.name: _assumed(d) for d in settings_of(kind) if not d.decides and d.name not in values}
        settings = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
        axis = axes.get(kind, "activations")
        mapping[axis] = ({"method": kind.key} if kind in axes else {}) | lenient | settings
    treatment = parse_treatment(mapping, where)
    carried = treatment.to_mapping()
    for kind, values in parts:
        axis = axes.get(kind, "activations")
        if axis not in carried:
            raise RecipeError(f"'{scheme}' takes no {axis}", where=where, remedy="Leave it out.")
        idle = [name for name in values if name not in carried[axis]]
        if idle:
            raise RecipeError(f"'{idle[0]}' means nothing beside the other words", where=where, remedy="Leave it out.")
    return treatment


def _assumed(declared: Setting) -> Value:
    """What a text that does not name the setting means: where groups do not divide, a way is found."""
    others = [name for name, _ in declared.choices if name != declared.default]
    return declared.default if declared.decides or not others else others[0]


def _written(treatment: Treatment, mapping: Mapping[str, Any], *, by_words: bool) -> str:
    words = _part(type(treatment.scheme), mapping["scheme"], by_words)
    if mapping.get("solver") != Treatment(treatment.scheme).to_mapping().get("solver"):
        words += _part(type(treatment.solver), mapping["solver"], by_words)
    if "activations" in mapping:
        words += _part(Activations, mapping["activations"], by_words=True)
    return ":".join(words)


def _part(kind: type[Any], mapping: Mapping[str, Value], by_words: bool) -> list[str]:
    left = {name: value for name, value in mapping.items() if name != "method"}
    words: list[str] = []
    for heads in (True, False):
        for reader in _readers(kind, heads=heads):
            plain = all(map(_PLAIN.fullmatch, reader.phrase.text.split() if heads else [reader.phrase.text]))
            said = reader.written(left) if plain and (by_words or reader.phrase.text == kind.key) else None
            if said is not None:
                words.append(said.replace(" ", ":"))
                left = {name: value for name, value in left.items() if name not in _names(reader.phrase)}
                if heads:
                    break
    known = {declared.name: declared for declared in settings_of(kind)}
    return words + [f"{name}={_said(value)}" for name, value in left.items() if value != _assumed(known[name])]


def _said(value: Value) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, tuple):
        return indices_text(value).replace(" ", "")
    return str(value) if not isinstance(value, str) or re.fullmatch(r"[\w./-]+", value) else json.dumps(value)


def _value(declared: Setting, said: str) -> Value:
    """A value as it stands in a text; the text itself where it is none, for the check of settings to refuse."""
    try:
        if declared.kind == "integer":
            return int(said)
        if declared.kind == "number":
            return float(said)
        if declared.kind == "boolean":
            return {"true": True, "false": False}.get(said, said)
        if declared.kind == "indices":
            return parse_indices(said) if parse_indices(said) is not None else said  # type: ignore[return-value]
        return str(json.loads(said)) if said.startswith('"') else said
    except ValueError:
        return said


def _names(phrase: Phrase) -> set[str]:
    return {name for name, _ in _SLOT.findall(phrase.text)} | set(phrase.sets)


def _examples(kind: type[Any], *, heads: bool = False) -> Iterator[str]:
    for reader in _readers(kind, heads=heads):
        yield _SLOT.sub(lambda slot, known=reader.settings: str(known[slot[1]].default), reader.phrase.text)  # type: ignore[misc]


_READERS: dict[tuple[type[Any], bool], tuple[_Reader, ...]] = {}


def _readers(kind: type[Any], *, heads: bool = False) -> tuple[_Reader, ...]:
    """Of the phrases that begin a method's words, its key among them, or of those that follow."""
    if (kind, heads) not in _READERS:
        _READERS[kind, heads] = _made_readers(kind, heads)
    return _READERS[kind, heads]


def _made_readers(kind: type[Any], heads: bool) -> tuple[_Reader, ...]:
    settings = {declared.name: declared for declared in settings_of(kind)}
    phrases = [phrase for phrase in kind.phrases if phrase.head == heads]
    if heads and hasattr(kind, "key"):
        phrases.append(head(kind.key))
    return tuple(_Reader(phrase, settings, _pattern(phrase.text, settings)) for phrase in phrases)


def _pattern(template: str, settings: Mapping[str, Setting]) -> re.Pattern[str]:
    pieces, end = [], 0
    for slot in _SLOT.finditer(template):
        pieces += [_literal(template[end : slot.start()]), f"({_slot(settings[slot[1]])})", r"\s*" if slot[2] else ""]
        end = slot.end()
    return re.compile("".join([*pieces, _literal(template[end:]), _EDGE]))


def _slot(declared: Setting) -> str:
    if declared.kind == "choice":
        return "|".join(re.escape(name) for name, _ in sorted(declared.choices, key=lambda each: -len(each[0])))
    return r"\d+" if declared.kind == "integer" else _NUMBER


def _literal(text: str) -> str:
    return "".join({" ": _GAP, "×": "[×x]", "≤": r"\s*(?:≤|<=)\s*"}.get(each, re.escape(each)) for each in text)


def _skip(text: str, at: int) -> int:
    found = re.compile(_GAP).match(text, at)
    return at if found is None else found.end()
