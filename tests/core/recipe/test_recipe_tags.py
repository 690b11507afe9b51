"""Tags are read back for every registered method, without a word about any of them here."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import pytest

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.recipe import Treatment, parse_treatment
from benchvise.core.recipe.tags import treatment_of_tag
from benchvise.core.settings import Setting, Value, settings_of, settled


def other_values(declared: Setting) -> Iterator[Value]:
    if declared.kind == "choice":
        yield from (name for name, _ in declared.choices)
    elif declared.kind == "boolean":
        yield from (False, True)
    elif declared.kind == "integer":
        assert declared.minimum is not None
        assert declared.maximum is not None
        yield from (int(declared.minimum), *declared.suggestions, int(min(declared.maximum, 4096)))
    elif declared.kind == "number":
        yield from (
            value for value in (0.3, 0.75, 0.011) if (declared.minimum or 0) <= value <= (declared.maximum or 1)
        )


def variants(kind: type) -> Iterator[object]:
    """The usual settings, each setting changed alone with what it needs to mean something, and all of them at once."""
    yield kind()
    for declared in settings_of(kind):
        for value in other_values(declared):
            changed = replace(kind(), **{declared.name: value})
            if declared.when is not None:
                changed = replace(changed, **{declared.when[0]: declared.when[1][0]})
            yield settled(changed)
    others = {each.name: [value for value in other_values(each) if value != each.default] for each in settings_of(kind)}
    for which in (0, -1):
        yield settled(replace(kind(), **{name: values[which] for name, values in others.items() if values}))


def treatments() -> Iterator[Treatment]:
    for scheme in (each for kind in SCHEMES.values() for each in variants(kind)):
        yield Treatment(scheme)  # type: ignore[arg-type]
    for kind in SCHEMES.values():
        for solver in (each for kind in SOLVERS.values() for each in variants(kind)):
            if kind.key != "keep" and not solver.refusal(kind()):  # type: ignore[attr-defined]
                yield Treatment(kind(), solver)  # type: ignore[arg-type]
    for activations in variants(Activations):
        yield Treatment(SCHEMES["integer"](), Nearest(), activations)  # type: ignore[arg-type]


BY_TAG = {treatment.tag: treatment for treatment in treatments()}


@pytest.mark.parametrize("tag", BY_TAG)
def test_every_tag_is_read_back(tag: str) -> None:
    found = treatment_of_tag(tag)
    assert found is not None
    assert found.tag == tag


@pytest.mark.parametrize(
    "treatment", {treatment.tag: treatment for treatment in treatments()}.values(), ids=lambda each: each.tag
)
def test_every_treatment_can_be_written_as_a_mapping(treatment: Treatment) -> None:
    assert parse_treatment(treatment.to_mapping(), "here").tag == treatment.tag


def test_the_usual_words_may_be_left_out() -> None:
    found = treatment_of_tag("int4 clip")
    assert found is not None
    assert found.tag == "int4 g128 clip"
    assert treatment_of_tag("int4") == treatment_of_tag("int4 g128")
    assert treatment_of_tag("int8 asym").tag == "int8 g128 asym"  # type: ignore[union-attr]


def test_numbers_may_be_spelled_in_any_way() -> None:
    assert treatment_of_tag("int4 g128 clip to .50") == treatment_of_tag("int4 g128 clip to 0.5")
    assert treatment_of_tag("25.0 % zeros").tag == "25 % zeros"  # type: ignore[union-attr]


@pytest.mark.parametrize("words", ["", "int", "int4 g128 klip", "50", "g128 int4", "int4 int4", "clip"])
def test_words_that_are_no_tag(words: str) -> None:
    assert treatment_of_tag(words) is None
