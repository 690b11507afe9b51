"""Profiles travel as files; what is damaged is refused with a sentence, never half believed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchvise.core.errors import UserError
from benchvise.core.protocol.results import Estimate, LayerCosts
from benchvise.core.recipe.recipe import KEEP
from benchvise.core.workspace.layer_costs import layer_costs_key, load_layer_costs, save_layer_costs
from benchvise.core.workspace.machine_profiles import keep_profile, kept_profiles, load_profile, save_profile
from tests.core.runtime.synthetic_profile import synthetic_profile


def stored(tmp_path: Path) -> tuple[Path, dict[str, Any]]:
    file = tmp_path / "machine.json"
    save_profile(synthetic_profile(), file)
    return file, json.loads(file.read_text())


def test_there_and_back(tmp_path: Path) -> None:
    written = save_profile(synthetic_profile(), tmp_path / "machine.json")
    assert load_profile(written.file) == written
    assert replace(written, file="") == synthetic_profile()


def test_kept_by_machine_and_name(tmp_path: Path) -> None:
    for name in ("B", "A", "B"):
        keep_profile(synthetic_profile(machine=name), str(tmp_path))
    broken = Path(keep_profile(synthetic_profile(machine="C"), str(tmp_path)).file)
    broken.write_text("{")
    assert [profile.machine for profile in kept_profiles(str(tmp_path))] == ["A", "B"]
    assert kept_profiles(str(tmp_path / "nothing")) == ()


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"format": "something"}, "no machine profile"),
        ({"version": 1}, "of version 1; version 2 can be read"),
        ({"version": 3}, "version 3"),
        ({"linears": []}, "no timings"),
        ({"linears": [{"rows": 1}]}, "damaged"),
        ({"rests": "many"}, "damaged"),
        ({"threads": "four"}, "'threads' is 'four'"),
        ({"threads": True}, "'threads' is True"),
        ({"triton": 1}, "'triton' is 1"),
        ({"machine": None}, "'machine' is None"),
    ],
)
def test_what_is_wrong_is_refused(tmp_path: Path, change: dict[str, object], what: str) -> None:
    file, plain = stored(tmp_path)
    file.write_text(json.dumps(plain | change))
    with pytest.raises(UserError, match=what) as refused:
        load_profile(file)
    assert refused.value.where == str(file)
    assert refused.value.remedy


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1.0, 0.0, "1"])
def test_times_that_are_none_are_refused(tmp_path: Path, value: object) -> None:
    file, plain = stored(tmp_path)
    plain["linears"][3]["ms"] = value
    file.write_text(json.dumps(plain))
    with pytest.raises(UserError, match="'ms' is"):
        load_profile(file)


@pytest.mark.parametrize("content", ["", "{", "[1]", "null", "[" * 100_000])
def test_files_that_are_something_else_are_refused(tmp_path: Path, content: str) -> None:
    file = tmp_path / "machine.json"
    file.write_text(content)
    with pytest.raises(UserError):
        load_profile(file)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot be read"):
        load_profile(tmp_path / "nowhere.json")


def costs() -> LayerCosts:
    times = np.array([[1.0, 2.0], [3.0, 0.1]])
    sizes = np.array([[1, 2], [3, 4]], np.int64)
    return LayerCosts(
        ("a", "b"), ("keep", "x"), times, Estimate(1.0, 0.5, 2.0), 0.1, "here", False, "k", sizes, keys=("0", "1")
    )


def test_costs_there_and_back(tmp_path: Path) -> None:
    save_layer_costs(str(tmp_path), costs())
    found = load_layer_costs(str(tmp_path), "k")
    assert (found.milliseconds == costs().milliseconds).all()
    assert (found.weight_bytes.dtype, found.milliseconds.dtype) == (np.int64, np.float64)
    assert (found.layers, found.tags, found.rest, found.machine) == (("a", "b"), ("keep", "x"), costs().rest, "here")


def test_costs_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    save_layer_costs(str(tmp_path), replace(costs(), layers=("a",)))
    for key in ("k", "unknown"):
        with pytest.raises(UserError, match="cannot be read"):
            load_layer_costs(str(tmp_path), key)


def test_the_key_depends_on_all_that_was_asked() -> None:
    asked = ("checkpoint", ("a", "b"), (KEEP,), 1, 32, "machine")
    others = [
        ("changed", *asked[1:]),
        (asked[0], ("a",), *asked[2:]),
        (*asked[:2], (KEEP, KEEP), *asked[3:]),
        (*asked[:3], 2, *asked[4:]),
        (*asked[:4], 33, asked[5]),
        (*asked[:5], "other"),
    ]
    assert len({layer_costs_key(*each) for each in (asked, *others)}) == 7
