"""Treatments as short texts: everything can be written and read back, and nothing is read as something else."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchvise.core.errors import RecipeError
from benchvise.core.methods.activations import Activations
from benchvise.core.methods.integer import Integer
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.registry import SCHEMES, SOLVERS
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.plugins import Registry
from benchvise.core.recipe import treatment_text
from benchvise.core.recipe.presets import presets
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.recipe.treatment_text import parse_treatment_text, write_treatment
from benchvise.core.settings import Setting, Value, settings_of, settled


def pairs() -> Iterator[Treatment]:
    for scheme in SCHEMES.values():
        for solver in SOLVERS.values():
            if not solver().refusal(scheme()) and not scheme().keeps:
                yield Treatment(scheme(), solver())
    yield Treatment(Keep())
    yield Treatment(Integer(symmetric=False), SOLVERS["half_quadratic"]())


def values_of(declared: Setting) -> st.SearchStrategy[Value]:
    if declared.kind == "choice":
        return st.sampled_from([name for name, _ in declared.choices])
    if declared.kind == "boolean":
        return st.booleans()
    least, most = declared.minimum or 0, declared.maximum if declared.maximum is not None else 1000
    if declared.kind == "integer":
        return st.integers(int(least), int(most))
    return st.floats(least, most, allow_nan=False)


def instances(kind: type) -> st.SearchStrategy[object]:
    changes = st.fixed_dictionaries({}, optional={each.name: values_of(each) for each in settings_of(kind)})
    return changes.map(lambda values: settled(replace(kind(), **values)))


TREATMENTS = st.builds(
    Treatment,
    st.sampled_from(list(SCHEMES.values())).flatmap(instances),
    st.sampled_from(list(SOLVERS.values())).flatmap(instances),
    st.none() | instances(Activations),
).filter(lambda treatment: not treatment.keeps and not treatment.solver.refusal(treatment.scheme))


@settings(max_examples=100, deadline=None)
@given(TREATMENTS)
def test_every_treatment_is_written_and_read_back(treatment: Treatment) -> None:
    text = write_treatment(treatment)
    assert parse_treatment_text(text).to_mapping() == treatment.to_mapping()
    assert parse_treatment_text(text.replace(":", " ")).key == treatment.key


@settings(max_examples=60, deadline=None)
@given(TREATMENTS)
def test_every_tag_is_read_back(treatment: Treatment) -> None:
    assert parse_treatment_text(treatment.tag).tag == treatment.tag


def test_defaults_and_presets_are_written_and_read_back() -> None:
    shipped = [rule.treatment for preset in presets() for rule in preset.recipe.rules]
    for treatment in (*pairs(), *shipped):
        found = parse_treatment_text(write_treatment(treatment))
        assert found.to_mapping() == treatment.to_mapping(), treatment.tag
        assert parse_treatment_text(treatment.tag).tag == treatment.tag


@pytest.mark.parametrize(
    ("text", "meant"),
    [
        ("int4:g128:asym:gptq", "int4 g128 asym gptq"),
        ("int4 asym g12", "int4 g12 asym"),
        ("int4", "int4 g128"),
        ("int4 clip", "int4 g128 clip"),
        ("int4 g128 clip to .50", "int4 g128 clip to 0.5"),
        ("int4:clip:clip_steps=40", "int4 g128 clip 40 steps"),
        ("integer:bits=3:granularity=channel", "int3 channel"),
        ("25.0% zeros", "25 % zeros"),
        ("|w| <= 0.5 → 0", "|w|≤0.5 → 0"),
        ("int4 128x64", "int4 128×64"),
        ("q4_k:gptq", "q4_k gptq"),
        ("int4:fraction=0.1", "int4 g128 +10% 16-bit"),
        ("gguf:type=mxfp4", "mxfp4"),
        ("int8 channel aint8 static percentile 99.5%", "int8 channel aint8 static percentile 99.5%"),
    ],
)
def test_texts_and_what_they_mean(text: str, meant: str) -> None:
    assert parse_treatment_text(text).tag == meant


@pytest.mark.parametrize(
    ("treatment", "text"),
    [
        (
            Treatment(Integer(symmetric=False, indivisible="divisor"), SOLVERS["error_feedback"]()),
            "int4:g128:asym:gptq",
        ),
        (Treatment(Integer(bits=8, granularity="channel"), Nearest(True, 40)), "int8:channel:clip:clip_steps=40"),
        (Treatment(Integer()), "int4:g128:indivisible=refuse"),
        (Treatment(SCHEMES["sparse"](fraction=0.3)), "sparse:fraction=0.3"),  # type: ignore[call-arg]
        (Treatment(SCHEMES["gguf"](type="mxfp4")), "gguf:type=mxfp4"),  # type: ignore[call-arg]
    ],
)
def test_how_treatments_are_written(treatment: Treatment, text: str) -> None:
    assert write_treatment(treatment) == text


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "more words"),
        ("int", "'int4'"),
        ("int4 g128 klip", "Did you mean 'clip'"),
        ("int4 g128 asim", "Did you mean 'asym'"),
        ("int4 gptk", "Did you mean 'gptq'"),
        ("int4 g12x", "'g12x' means nothing here"),
        ("int4 g128 g64", "set twice"),
        ("int4 g128 channel", "set twice"),
        ("int4 int4", "'int4' means nothing here"),
        ("int4 channel group_size=64", "'group_size' means nothing beside"),
        ("int4 float zero", "'zero_points' means nothing beside"),
        ("int9", "above its greatest value 8"),
        ("int4 clip clip_steps=1", "below its least value 2"),
        ("int4 clip clip_stebs=30", "Did you mean 'clip_steps'"),
        ("int4 threshold=0.1", "unknown setting 'threshold'"),
        ("vq8 d2 clip", "no scale"),
        ("int4 hqq", "half-quadratic fits zero points"),
        ("keep gptq", "takes no solver"),
        ("clip", "names no treatment"),
        ("50", "names no treatment"),
    ],
)
def test_nothing_is_read_as_something_else(text: str, said: str) -> None:
    with pytest.raises(RecipeError) as caught:
        parse_treatment_text(text)
    assert said in f"{caught.value.what}. {caught.value.remedy}"


def test_a_method_without_words_goes_by_its_key(monkeypatch: pytest.MonkeyPatch) -> None:
    @dataclass(frozen=True)
    class Thirds(Integer):
        key: ClassVar[str] = "thirds"
        phrases: ClassVar[tuple[()]] = ()  # type: ignore[assignment]

        @property
        def tag(self) -> str:
            return f"thirds of {self.bits}"

    known: Registry[Scheme] = Registry("benchvise.schemes", Scheme, (*SCHEMES.values(), Thirds))
    monkeypatch.setattr(treatment_text, "SCHEMES", known)
    monkeypatch.setattr("benchvise.core.recipe.recipe.SCHEMES", known)
    treatment = Treatment(Thirds(bits=3, granularity="channel"), SOLVERS["error_feedback"]())
    assert write_treatment(treatment) == "thirds:bits=3:granularity=channel:gptq"
    assert parse_treatment_text(write_treatment(treatment)) == treatment
