"""Tags read back: the treatment that a tag such as "int4 g128 asym clip 40 steps" stands for.

A method says its settings in its tag and nowhere how to read them back. So the settings are searched: every combination
of choices and switches, with the numbers that stand in the words put in place of those that the tag shows, until the
tag is the words. A new method needs nothing for that but a tag that names each setting which changes its result.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from decimal import Decimal
from itertools import islice, product
from typing import TypeVar

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.methods.solver import Nearest, Solver
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.settings import Setting, Value, applicable, settings_of, settled

T = TypeVar("T")

_NUMBER = re.compile(r"\d*\.?\d+(?:e[-+]\d+)?")
_STRICTNESS, _STRICT = "indivisible", "refuse"
"""Not in tags, as it changes no result where the group divides: words mean whatever layers they are said of."""


def treatment_of_tag(words: str) -> Treatment | None:
    """The treatment whose tag is `words`; None when there is none.

    Of a scheme's tag the words after the first may be left out where they are the usual ones ("int4 clip"). Settings
    are not checked against their bounds: "int9 channel" is a treatment too, and a wrong one.
    """
    wanted = _spelled(words)
    for shortened in (False, True):
        for kind in SCHEMES.values():
            for scheme in _instances(kind, wanted, lambda scheme: scheme.tag):
                said = _spelled(scheme.tag)
                for end in range(len(wanted), 0, -1):
                    if not (_is_short_for(wanted[:end], said) if shortened else wanted[:end] == said):
                        continue
                    found = _with_solver(Treatment(_lenient(scheme)), wanted[end:])
                    if found is not None:
                        return found
    return None


def _with_solver(treatment: Treatment, rest: list[str]) -> Treatment | None:
    """The treatment with the solver, and the activations, that the rest of a tag names."""
    if not rest:
        return treatment
    scheme = treatment.scheme
    for kind in SOLVERS.values():

        def tag(solver: Solver) -> str:
            return solver.tag(scheme)

        for solver in _instances(kind, rest, tag):
            said = _spelled(tag(solver))
            if rest[: len(said)] != said or (not said and not isinstance(solver, Nearest)):
                continue
            found = _with_activations(replace(treatment, solver=solver), rest[len(said) :])
            if found is not None:
                return found
    return None


def _with_activations(treatment: Treatment, rest: list[str]) -> Treatment | None:
    if not rest:
        return treatment
    found = (each for each in _instances(Activations, rest, lambda each: each.tag) if _spelled(each.tag) == rest)
    activations = next(found, None)
    return None if activations is None else replace(treatment, activations=activations)


def _instances(kind: type[T], wanted: list[str], tag: Callable[[T], str]) -> Iterator[T]:
    """Instances whose tags may stand in the `wanted` words, the usual settings first."""
    numbers = tuple(dict.fromkeys(_NUMBER.findall(" ".join(wanted))))
    seen: set[str] = set()
    for base in _combinations(kind, kind()):
        if tag(base) in seen:
            continue
        seen.add(tag(base))
        yield base
        plausible = _plausible(base, numbers, wanted, tag)
        yield from _numbered(base, plausible)
        for name, values in plausible.items():
            for value in values:  # another number may show in other words once this one is in place
                changed = replace(base, **{name: value})  # type: ignore[type-var]
                then = _plausible(changed, numbers, wanted, tag)
                if any(set(then[other]) - set(plausible[other]) for other in then if other != name):
                    yield from _numbered(changed, then)


def _numbered(base: T, values: Mapping[str, Sequence[int | float]]) -> Iterator[T]:
    """`base` with every combination of other numbers, but for itself."""
    every = ((getattr(base, name), *others) for name, others in values.items())
    for chosen in islice(product(*every), 1, None):
        yield replace(base, **dict(zip(values, chosen, strict=True)))  # type: ignore[type-var]


def _plausible(
    base: T, numbers: tuple[str, ...], wanted: list[str], tag: Callable[[T], str]
) -> dict[str, tuple[int | float, ...]]:
    """By setting, the numbers that put words into the tag which may stand among the wanted ones."""
    return {
        declared.name: tuple(dict.fromkeys(_fitting(declared, base, numbers, wanted, tag)))
        for declared in applicable(base, _capabilities(type(base)))
        if declared.kind in ("integer", "number")
    }


def _fitting(
    declared: Setting, base: T, numbers: tuple[str, ...], wanted: list[str], tag: Callable[[T], str]
) -> Iterator[int | float]:
    """The values of a number which put words into the tag that stand, but for other numbers, among the wanted ones."""
    usual = _spelled(tag(base))
    for number, value in _read(declared, numbers):
        changed = _spelled(tag(replace(base, **{declared.name: value})))  # type: ignore[type-var]
        new = [_NUMBER.sub("#", word) for word in _differing(changed, usual)]
        windows = (wanted[start : start + len(new)] for start in range(len(wanted) - len(new) + 1) if new)
        for window in windows:
            if number in _NUMBER.findall(" ".join(window)) and [_NUMBER.sub("#", word) for word in window] == new:
                yield value
                break


def _differing(words: list[str], others: list[str]) -> list[str]:
    """`words` without what both begin and end with."""
    shorter = min(len(words), len(others))
    start = next((at for at in range(shorter) if words[at] != others[at]), shorter)
    end = next((at for at in range(shorter - start) if words[-1 - at] != others[-1 - at]), shorter - start)
    return words[start : len(words) - end]


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


def _read(declared: Setting, numbers: tuple[str, ...]) -> Iterator[tuple[str, int | float]]:
    """Each number in the words with what it may mean for a setting: as it stands, or a hundredth, as of percents."""
    for number in numbers:
        exact = Decimal(number)
        if declared.kind == "number":
            yield number, float(exact)
            yield number, float(exact / 100)
        elif exact == int(exact):
            yield number, int(exact)


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
    """The scheme that finds a way where a group does not divide, if it knows one."""
    declared = next((each for each in settings_of(type(scheme)) if each.name == _STRICTNESS), None)
    ways = [name for name, _ in declared.choices if name != _STRICT] if declared is not None else []
    return settled(replace(scheme, **{_STRICTNESS: ways[0]})) if ways else scheme  # type: ignore[type-var]


def _capabilities(kind: type[object]) -> set[str]:
    return {declared.requires for declared in settings_of(kind)}
