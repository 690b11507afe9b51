"""Micro-benchmarks are kept per machine, and meet the caches as a whole model would."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from core.runtime import profile as room
from core.runtime.machine import device_name, last_level_cache_bytes, machine_key
from core.runtime.profile import Profile, Spread, spread_of, time_linear, working_set_bytes

ONE = Spread(1.0, 0.5, 2.0, 64)


def test_measured_once_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    assert Profile(file, "here").get_or_measure("a", lambda: ONE) == ONE
    assert Profile(file, "here").get_or_measure("a", lambda: pytest.fail("measured again")) == ONE


def test_another_machine_measures_for_itself(tmp_path: Path) -> None:
    file = tmp_path / "kernels.json"
    two = Spread(2.0, 1.0, 3.0, 64)
    Profile(file, "here").get_or_measure("a", lambda: ONE)
    assert Profile(file, "there").get_or_measure("a", lambda: two) == two
    assert set(json.loads(file.read_text())) == {"here", "there"}


@pytest.mark.parametrize("content", ["{broken", "[]", '{"here": {"a": {"median_ms": 1}}}'])
def test_broken_file_counts_as_empty(tmp_path: Path, content: str) -> None:
    file = tmp_path / "kernels.json"
    file.write_text(content)
    assert Profile(file, "here").get_or_measure("a", lambda: ONE) == ONE


def test_working_set_is_the_model_or_more_than_the_cache() -> None:
    assert working_set_bytes(1000) == 1024
    assert working_set_bytes(1 << 20) == 1 << 20
    assert working_set_bytes(1 << 40) >= 2 * last_level_cache_bytes()


class Counting(nn.Module):
    made = 0
    calls = 0

    def __init__(self) -> None:
        super().__init__()
        Counting.made += 1

    def forward(self, x: Tensor) -> Tensor:
        Counting.calls += 1
        return x


def test_as_many_weights_as_fill_the_working_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "LEAST_SECONDS", 0.0)
    Counting.made = Counting.calls = 0
    spread = time_linear(Counting, torch.zeros(1, 1, 4), 100, 950)
    assert Counting.made == 10
    assert Counting.calls == 10 * (1 + room.LEAST_PASSES)
    assert 0 < spread.low_ms <= spread.median_ms <= spread.high_ms
    assert spread.weight_bytes == 100


def test_spread_is_median_and_tenths() -> None:
    assert spread_of([float(v) for v in range(11)], 3) == Spread(5.0, 1.0, 9.0, 3)


def test_machine_is_named() -> None:
    assert device_name(torch.device("cpu"))
    assert f"{torch.get_num_threads()} threads" in machine_key(torch.device("cpu"))
