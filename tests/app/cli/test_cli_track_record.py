"""What a job will take, before it is run; and what came of that, after."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.app.cli.cli_runs import SAMPLE, Shell

PRESET = ("--preset", "int8-channel")


def test_a_plan_with_a_forecast_and_the_record_of_it(shell: Shell, tmp_path: Path) -> None:
    assert "No run in" in shell.run("runs", "--track-record").out
    job = shell.json("plan", SAMPLE, *PRESET, "--forecast")["job"]
    assert job["seconds"]["low"] < job["seconds"]["value"] < job["seconds"]["high"]
    assert job["seconds"]["value"] == pytest.approx(sum(part["seconds"] for part in job["parts"]))
    assert job["peak_bytes"]["value"] == sum(part["bytes"] for part in job["memory"])
    assert job["disk_bytes"] > 0
    run = shell.json("compress", SAMPLE, *PRESET, "--out", tmp_path / "out")
    record = shell.json("runs", "--track-record")
    found = {each["kind"]: each for each in record["comparisons"]}
    assert set(found) == {"bytes", "peak_bytes", "seconds"} == {kind["kind"] for kind in record["kinds"]}
    assert found["bytes"]["measured"] == found["bytes"]["forecast"]["value"] == run["bytes_after"]
    assert found["seconds"]["forecast"] == job["seconds"]
    assert found["seconds"]["measured"] == run["seconds"]
    assert {each["run"] for each in record["comparisons"]} == {run["run"]}


def test_people_read_the_same(shell: Shell, tmp_path: Path) -> None:
    planned = shell.run("plan", SAMPLE, *PRESET, "--forecast").out
    assert "time: ≈ " in planned
    assert "peak memory: ≈ " in planned
    shell.run("compress", SAMPLE, *PRESET, "--out", tmp_path / "out")
    lines = shell.run("runs", "--track-record").out.splitlines()
    assert lines[0].split()[:3] == ["run", "recipe", "what"]
    assert lines[-1].startswith("Size exact in 1 of 1; peak memory within 15 % in ")
