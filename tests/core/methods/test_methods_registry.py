"""Every registered method tells people what it is and bounds what it takes."""

from __future__ import annotations

import dataclasses

import pytest

from benchvise.core.methods.activations import Activations
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.keep import Keep
from benchvise.core.methods.registry import SCHEMES, SOLVERS, SURGERIES, TRANSFORMS, TUNINGS
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Solver
from benchvise.core.methods.surgery import Surgery
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.settings import parse_settings, settings_of, to_mapping, validate

AXES = (
    (Scheme, SCHEMES),
    (Solver, SOLVERS),
    (Transform, TRANSFORMS),
    (Surgery, SURGERIES),
    (Tuning, TUNINGS),
)
Method = type[Scheme] | type[Solver] | type[Transform] | type[Surgery] | type[Tuning]
METHODS = [method for _, known in AXES for method in known.values()]  # type: ignore[attr-defined]
DECLARED = [*METHODS, Activations, Calibration]


@pytest.mark.parametrize("method", METHODS, ids=lambda method: method.key)
def test_a_method_is_described(method: Method) -> None:
    assert method.title
    assert method.summary.endswith(".")
    assert method.source
    assert [known[method.key] for axis, known in AXES if issubclass(method, axis)] == [method]  # type: ignore[attr-defined]
    assert dataclasses.fields(method) == () or method.__dataclass_params__.frozen  # type: ignore[union-attr]


@pytest.mark.parametrize("method", DECLARED, ids=lambda method: method.__name__)
def test_every_field_is_a_declared_bounded_setting(method: type[object]) -> None:
    declared = settings_of(method)
    assert [one.name for one in declared] == [field.name for field in dataclasses.fields(method)]  # type: ignore[arg-type]
    names = [one.name for one in declared]
    for one in declared:
        assert one.title
        assert one.help.endswith(".")
        if one.kind in ("integer", "number"):
            assert one.minimum is not None
            assert one.minimum <= one.default  # type: ignore[operator]
            assert one.maximum is None or one.default <= one.maximum  # type: ignore[operator]
            assert all(one.minimum <= value <= (one.maximum or value) for value in one.suggestions)  # type: ignore[operator]
        if one.kind == "integer":
            assert one.maximum is not None
        if one.kind == "choice":
            assert one.default in dict(one.choices)
            assert all(title for _, title in one.choices)
        if one.when is not None:
            assert one.when[0] in names
        assert one.kind in ("text", "indices") or not (one.files or one.empty)
        assert all(ending.startswith(".") for ending in one.files)


@pytest.mark.parametrize("method", DECLARED, ids=lambda method: method.__name__)
def test_defaults_are_valid_and_survive_a_recipe(method: type[object]) -> None:
    instance = method()
    validate(instance, where="default")
    assert parse_settings(method, to_mapping(instance), where="") == instance


@pytest.mark.parametrize("scheme", SCHEMES.values(), ids=lambda scheme: scheme.key)
def test_every_scheme_has_a_tag_and_known_capabilities(scheme: type[Scheme]) -> None:
    assert scheme().tag
    asked = {one.requires for solver in SOLVERS.values() for one in settings_of(solver)} - {""}
    refused = {"rounding", "factors"}  # what learned rounding and whitened SVD ask for as a whole
    assert scheme.capabilities <= asked | refused


def test_every_required_capability_is_offered_by_some_scheme() -> None:
    offered = frozenset().union(*(scheme.capabilities for scheme in SCHEMES.values()))
    for solver in SOLVERS.values():
        assert {one.requires for one in settings_of(solver)} - {""} <= offered


def test_keep_is_the_only_scheme_of_untouched_layers() -> None:
    assert SCHEMES["keep"] is Keep
