"""Tags read back: the treatment that a tag such as "int4 g128 asym clip 40 steps" stands for.

A method says its settings in its tag and nowhere how to read them back. So the settings are searched: every combination
of choices and switches, with the numbers that stand in the words put in place of those that the tag shows, until the
tag is the words. A new method needs nothing for that but a tag that names each setting which changes its result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from itertools import product
from typing import TypeVar

from core.methods.activations import Activations
from core.methods.registry import SCHEMES, SOLVERS
from core.methods.solver import Nearest, Solver
from core.recipe.recipe import Treatment
from core.settings import Setting, Value, applicable, settings_of, settled

T = TypeVar("T")

_NUMBER = re.compile(r"\d*\.?\d+(?:e[-+]\d+)?")
_LENIENT = ("indivisible", "divisor")
"""Not in tags, as it changes no result where the group divides: words mean the layers they can be carried out on."""


def treatment_of_tag(words: str) -> Treatment | None:
    """The treatment whose tag is `words`; None when there is none.

    Of a scheme's tag the words after the first may be left out where they are the usual ones ("int4 clip"). Settings
    are not checked against their bounds: "int9 channel" is a treatment too, and a wrong one.
    """
    wanted = _spelled(words)
    numbers = tuple(dict.fromkeys(_NUMBER.findall(" ".join(wanted))))
    for shortened in (False, True):
        for kind in SCHEMES.values():
            for scheme in _instances(kind, numbers, lambda scheme: scheme.tag):
                said = _spelled(scheme.tag)
                for end in range(len(wanted), 0, -1):
                    if not (_is_short_for(wanted[:end], said) if shortened else wanted[:end] == said):
                        continue
                    found = _with_solver(Treatment(_lenient(scheme)), wanted[end:], numbers)
                    if found is not None:
                        return found
    return None


def _with_solver(treatment: Treatment, rest: list[str], numbers: tuple[str, ...]) -> Treatment | None:
    """The treatment with the solver, and the activations, that the rest of a tag names."""
    if not rest:
        return treatment
    scheme = treatment.scheme
    for kind in SOLVERS.values():

        def tag(solver: Solver) -> str:
            return solver.tag(scheme)

        for solver in _instances(kind, numbers, tag):
            said = _spelled(tag(solver))
            if rest[: len(said)] != said or (not said and not isinstance(solver, Nearest)):
                continue
            found = _with_activations(replace(treatment, solver=solver), rest[len(said) :], numbers)
            if found is not None:
                return found
    return None


def _with_activations(treatment: Treatment, rest: list[str], numbers: tuple[str, ...]) -> Treatment | None:
    if not rest:
        return treatment
    found = (each for each in _instances(Activations, numbers, lambda each: each.tag) if _spelled(each.tag) == rest)
    activations = next(found, None)
    return None if activations is None else replace(treatment, activations=activations)


def _instances(kind: type[T], numbers: tuple[str, ...], tag: Callable[[T], str]) -> Iterator[T]:
    """Instances with other tags, the usual settings first."""
    seen: set[str] = set()
    for base in _combinations(kind, kind()):
        if tag(base) in seen:
            continue
        seen.add(tag(base))
        yield base
        shown = [declared for declared in applicable(base, _capabilities(kind)) if _is_shown(declared, base, tag)]
        values = [tuple(dict.fromkeys((_of(declared, base), *_read(declared, numbers)))) for declared in shown]
        for chosen in product(*values):
            yield replace(base, **dict(zip((declared.name for declared in shown), chosen, strict=True)))  # type: ignore[type-var]


def _combinations(kind: type[T], usual: T) -> Iterator[T]:
    """Every combination of choices and switches that means something, the usual one first."""
    free = [declared for declared in settings_of(kind) if declared.kind in ("choice", "boolean")]
    values: list[list[Value]] = []
    for declared in free:
        every: list[Value] = [name for name, _ in declared.choices] if declared.choices else [False, True]
        values.append(sorted(every, key=lambda value, usual=declared.default: value != usual))  # type: ignore[misc]
    for chosen in product(*values):
        made = replace(usual, **dict(zip((declared.name for declared in free), chosen, strict=True)))  # type: ignore[type-var]
        if settled(made) == made:
            yield made


def _is_shown(declared: Setting, base: T, tag: Callable[[T], str]) -> bool:
    """Whether the tag tells another value of this number apart."""
    if declared.kind not in ("integer", "number"):
        return False
    value = float(_of(declared, base))
    other = value / 2 if declared.kind == "number" and value else value + 1
    typed = int(other) if declared.kind == "integer" else other
    return tag(replace(base, **{declared.name: typed})) != tag(base)  # type: ignore[type-var]


def _read(declared: Setting, numbers: tuple[str, ...]) -> Iterator[int | float]:
    """The numbers in the words as values of a setting: as they stand, and a hundredth, as of percents."""
    for number in numbers:
        exact = Decimal(number)
        if declared.kind == "number":
            yield float(exact)
            yield float(exact / 100)
        elif exact == int(exact):
            yield int(exact)


def _spelled(words: str) -> list[str]:
    """The words with every number in one spelling, so that 0.50 and .5 compare alike."""
    return _NUMBER.sub(lambda found: repr(float(found[0])), words).split()


def _is_short_for(words: list[str], tag: list[str]) -> bool:
    """Whether `words` are `tag` without some of its later words; "50" alone is short for nothing."""
    if not any(character.isalpha() for character in words[0]):
        return False
    remaining = iter(tag[1:])
    return words[0] == tag[0] and all(word in remaining for word in words[1:])


def _lenient(scheme: T) -> T:
    name, value = _LENIENT
    if name not in {declared.name for declared in settings_of(type(scheme))}:
        return scheme
    return settled(replace(scheme, **{name: value}))  # type: ignore[type-var]


def _of(declared: Setting, instance: object) -> int | float:
    value = getattr(instance, declared.name)
    assert isinstance(value, int | float)
    return value


def _capabilities(kind: type[object]) -> set[str]:
    return {declared.requires for declared in settings_of(kind)}
