"""Timings are kept per machine; benchmarks meet the caches as a whole model would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from benchvise.core.protocol.results import Estimate
from benchvise.core.runtime.machine import device_name, last_level_cache_bytes, machine_key
from benchvise.core.runtime.profile import Profile, spread_of, working_set_bytes

ONE, TWO = Estimate(1.0, 0.5, 2.0), Estimate(2.0, 1.0, 3.0)


def test_kept_for_the_next_time(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    Profile(file, "here").keep({"a": ONE})
    again = Profile(file, "here")
    assert "a" in again
    assert again["a"] == ONE
    assert again.get("b", TWO) == TWO


def test_what_is_known_stays(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    Profile(file, "here").keep({"a": ONE})
    Profile(file, "here").keep({"a": TWO, "b": TWO})
    assert [Profile(file, "here")[key] for key in "ab"] == [ONE, TWO]


def test_another_machine_has_its_own(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    Profile(file, "here").keep({"a": ONE})
    there = Profile(file, "there")
    assert "a" not in there
    there.keep({"a": TWO})
    assert set(json.loads(file.read_text())) == {"here", "there"}
    assert Profile(file, "here")["a"] == ONE


def test_without_a_file_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    profile = Profile(None, "here")
    profile.keep({"a": ONE})
    assert profile["a"] == ONE
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["{broken", "[]", '{"here": {"a": {"value": 1}}}', '{"here": {"a": {"low": "x"}}}'])
def test_broken_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kernels.json"
    file.write_text(content)
    assert "a" not in Profile(file, "here")


def test_working_set_is_the_model_or_more_than_the_cache() -> None:
    assert working_set_bytes(1000) == 1024
    assert working_set_bytes(1 << 20) == 1 << 20
    assert working_set_bytes(1 << 40) >= 2 * last_level_cache_bytes()


def test_spread_is_median_and_tenths() -> None:
    assert spread_of([float(v) for v in range(11)]) == Estimate(5.0, 1.0, 9.0)


def test_machine_is_named() -> None:
    assert device_name(torch.device("cpu"))
    assert f"{torch.get_num_threads()} threads" in machine_key(torch.device("cpu"))
