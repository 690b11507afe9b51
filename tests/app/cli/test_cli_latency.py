"""Latency on the command line: measured, forecast here, forecast for another machine, and a machine's own profile."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchvise.core.runtime import measure_profile
from benchvise.core.runtime.measure_profile import Build
from benchvise.core.workspace.machine_profiles import load_profile, save_profile
from tests.app.cli.cli_runs import SAMPLE, Shell
from tests.core.runtime.synthetic_profile import rest_ms, synthetic_profile

FORECAST = ("forecast", SAMPLE, "--preset", "int8-channel")


@pytest.fixture
def laptop(tmp_path: Path) -> str:
    return save_profile(synthetic_profile(), tmp_path / "laptop.json").file


def test_another_machine_is_forecast_and_named(shell: Shell, laptop: str, tmp_path: Path) -> None:
    asked = (*FORECAST, "--profile", laptop, "--batch", "2", "--context", "64", "--prompt", "32")
    found = shell.json(*asked, "--workspace", tmp_path)
    assert (found["machine"], found["other_machine"], found["batch"], found["context"]) == ("Laptop", True, 2, 64)
    for name in ("before_ms", "after_ms", "prefill_before_ms", "prefill_after_ms"):
        assert 0 < found[name]["low"] < found[name]["value"] < found[name]["high"]
    assert found["before_ms"]["value"] > rest_ms(5, 64, 32, 2, 64, 0)
    said = shell.run(*asked, "--workspace", tmp_path)
    assert "on another machine: Laptop" in said.out
    assert "≈" in said.out
    assert "2 sequences at once, 64 tokens of context, prompts of 32" in said.out


def test_a_damaged_profile_is_refused(shell: Shell, tmp_path: Path) -> None:
    broken = tmp_path / "laptop.json"
    broken.write_text('{"format": "benchvise machine profile", "version": 2}')
    error = shell.error(3, *FORECAST, "--profile", broken)
    assert "damaged" in error["what"]
    assert "benchvise profile --out" in error["remedy"]


def test_more_context_than_the_model_knows_is_refused(shell: Shell, laptop: str) -> None:
    assert "512 positions" in shell.error(3, *FORECAST, "--profile", laptop, "--context", "4096")["what"]


def test_several_sequences_are_measured(shell: Shell) -> None:
    found = shell.json("latency", SAMPLE, "--tokens", 2, "--repetitions", 1, "--context", 4, "--batch", 3)
    assert found["batch"] == 3
    assert found["prefill_ms"] > 0
    assert found["tokens_per_second"] == pytest.approx(3000 / found["median_ms"])


def test_a_profile_of_this_machine_is_written(shell: Shell, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measure_profile, "BUILDS", (Build(128, 2, 1), Build(256, 1, 1)))
    file = tmp_path / "here.json"
    found = shell.json(
        "profile", "--quick", "--name", "Laptop", "--treatment", "int3 g128", "--out", file, "--workspace", tmp_path
    )
    profile = load_profile(file)
    assert (profile.machine, found["machine"], found["file"]) == ("Laptop", "Laptop", str(file))
    assert {"dense", "int8 channel", "int4 g128", "int4 g32", "int3 g128"} == {each.tag for each in profile.linears}
    assert {each.tokens for each in profile.linears} == {1, 8, 32, 256}
    assert {(each.batch, each.context, each.prompt) for each in profile.rests} >= {(1, 32, 0), (8, 128, 0), (1, 0, 256)}
    here = shell.json(*FORECAST, "--profile", file, "--workspace", tmp_path)
    assert not here["other_machine"]
