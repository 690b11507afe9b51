from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import pytest

from benchvise.core.errors import RecipeError
from benchvise.core.settings import (
    applicable,
    did_you_mean,
    parse_settings,
    setting,
    settings_of,
    settled,
    to_mapping,
    validate,
)


@dataclass(frozen=True)
class Oven:
    degrees: int = setting(180, title="Heat", help="How hot.", unit="°C", minimum=50, maximum=250)
    share: float = setting(0.5, title="Share", help="How much of it.", minimum=0.0, maximum=1.0)
    mode: Literal["fan", "grill"] = setting("fan", title="Mode", help="How.", choices={"fan": "Fan", "grill": "Grill"})
    rack: int = setting(2, title="Rack", help="Where.", minimum=1, maximum=4, when=("mode", ("grill",)))
    steam: bool = setting(False, title="Steam", help="With water.", requires="water")
    note: str = "no setting"


@dataclass(frozen=True)
class Bare:
    pass


def problem(mapping: dict[str, object], kind: type[object] = Oven) -> str:
    with pytest.raises(RecipeError) as caught:
        parse_settings(kind, mapping, where="oven.yaml, rule 1")
    assert caught.value.where == "oven.yaml, rule 1"
    assert caught.value.remedy
    return caught.value.what


def test_declarations_carry_what_people_need() -> None:
    declared = {one.name: one for one in settings_of(Oven)}
    assert list(declared) == ["degrees", "share", "mode", "rack", "steam"]
    assert [one.kind for one in declared.values()] == ["integer", "number", "choice", "integer", "boolean"]
    assert declared["degrees"].unit == "°C"
    assert (declared["degrees"].minimum, declared["degrees"].maximum) == (50, 250)
    assert declared["mode"].choices == (("fan", "Fan"), ("grill", "Grill"))


def test_nothing_given_is_the_defaults() -> None:
    assert parse_settings(Oven, {}, where="") == Oven()


def test_bounds_are_inside() -> None:
    assert parse_settings(Oven, {"degrees": 50, "share": 1}, where="") == Oven(degrees=50, share=1.0)
    assert isinstance(parse_settings(Oven, {"share": 1}, where="").share, float)
    assert isinstance(parse_settings(Oven, {"degrees": 60.0}, where="").degrees, int)


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ({"degres": 100}, "unknown setting 'degres'. Did you mean 'degrees'?"),
        ({"xyzzy": 100}, "Known: degrees, mode, rack, share, steam"),
        ({"note": "x"}, "unknown setting 'note'"),
        ({"degrees": "hot"}, "'degrees' must be a number, not 'hot'"),
        ({"degrees": True}, "'degrees' must be a number, not True"),
        ({"degrees": None}, "'degrees' must be a number, not None"),
        ({"degrees": [100]}, "'degrees' must be a number"),
        ({"degrees": 100.5}, "'degrees' must be a whole number, not 100.5"),
        ({"degrees": float("nan")}, "'degrees' must be a number"),
        ({"share": float("inf")}, "'share' must be a number"),
        ({"share": 10**400}, "'share' must be a number"),
        ({"degrees": -(10**400)}, "'degrees' must be a number"),
        ({"degrees": 49}, "'degrees' is 49, below its least value 50"),
        ({"degrees": 251}, "'degrees' is 251, above its greatest value 250"),
        ({"share": -0.01}, "'share' is -0.01, below its least value 0"),
        ({"mode": "fann"}, "'mode' cannot be 'fann'. Did you mean 'fan'?"),
        ({"mode": 3}, "'mode' cannot be 3"),
        ({"mode": ["fan"]}, "'mode' cannot be ['fan']"),
        ({"steam": "yes"}, "'steam' must be true or false, not 'yes'"),
        ({"steam": 1}, "'steam' must be true or false, not 1"),
    ],
)
def test_a_wrong_value_is_named_with_what_would_be_right(mapping: dict[str, object], says: str) -> None:
    assert says in problem(mapping)


def test_all_problems_are_told_together() -> None:
    said = problem({"degrees": 10, "mode": "x", "rak": 1})
    assert all(word in said for word in ("'degrees'", "'mode'", "'rak'"))


def test_a_class_without_settings_says_so() -> None:
    assert "None is known here" in problem({"bits": 4}, Bare)


def test_only_what_applies_is_shown_and_stored() -> None:
    fan, grill = Oven(rack=4), Oven(mode="grill", rack=4)
    assert "rack" not in to_mapping(fan)
    assert to_mapping(grill)["rack"] == 4
    assert "steam" not in [one.name for one in applicable(fan)]
    assert "steam" in [one.name for one in applicable(fan, {"water"})]


def test_idle_settings_do_not_make_equal_treatments_differ() -> None:
    assert parse_settings(Oven, {"mode": "fan", "rack": 4}, where="") == Oven()
    assert parse_settings(Oven, {"mode": "grill", "rack": 4}, where="").rack == 4
    assert settled(Oven(rack=4)) == Oven()
    assert settled(Oven(mode="grill", rack=4)) == Oven(mode="grill", rack=4)


def test_idle_settings_are_still_checked() -> None:
    assert "above its greatest value 4" in problem({"mode": "fan", "rack": 9})


def test_an_instance_built_in_code_is_checked_the_same_way() -> None:
    validate(Oven(), where="form")
    with pytest.raises(RecipeError, match="above its greatest value"):
        validate(replace(Oven(), degrees=1000), where="form")


def test_did_you_mean_names_the_nearest_or_all() -> None:
    assert did_you_mean("chanel", ["channel", "tensor"]) == "Did you mean 'channel'?"
    assert did_you_mean("zzz", ["b", "a"]) == "Known: a, b."
