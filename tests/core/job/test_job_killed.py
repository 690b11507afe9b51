"""kill -9 wherever it may fall: the resumed job leaves what an undisturbed one leaves, byte for byte."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.core.job.compress_samples import digests, network, records

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("killed")


@pytest.fixture(scope="module")
def outcomes(folder: Path) -> dict[str, Any]:
    checkpoint = network(folder / "checkpoint")
    before = digests(checkpoint)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(HERE.parents[2]), str(HERE)])}
    command = [sys.executable, str(HERE / "interruptions.py"), str(checkpoint), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert digests(checkpoint) == before, "the input is never written to"
    return json.loads(done.stdout)


def deaths(outcomes: dict[str, Any]) -> dict[str, Any]:
    return {name: outcome for name, outcome in outcomes.items() if not name.startswith("undisturbed")}


def test_one_and_two_threads_give_the_same(outcomes: dict[str, Any], folder: Path) -> None:
    assert outcomes["undisturbed 1"] == outcomes["undisturbed 2"]
    assert records(folder / "undisturbed 1") == records(folder / "undisturbed 2")


def test_jobs_died_and_were_found_interrupted(outcomes: dict[str, Any]) -> None:
    assert len(deaths(outcomes)) > 10
    for name, outcome in deaths(outcomes).items():
        assert outcome["died"] == -9, name
        assert outcome["states"] == ["interrupted"], name
        assert outcome["exit"] == 0, name


def test_records_and_result_equal_the_undisturbed(outcomes: dict[str, Any], folder: Path) -> None:
    expected = records(folder / "undisturbed 1")
    for name, outcome in deaths(outcomes).items():
        assert records(folder / name) == expected, name
        assert outcome["run"] == outcomes["undisturbed 1"]["run"], name


def test_finished_layers_are_not_computed_again(outcomes: dict[str, Any]) -> None:
    layers = [layer["name"] for layer in outcomes["undisturbed 1"]["run"]["layers"]]
    counts = set()
    for name, outcome in deaths(outcomes).items():
        assert outcome["resumed"] == outcome["told"], name
        assert outcome["resumed"] + outcome["computed"] == layers, name
        assert outcome["advanced"][0] == outcome["advanced"][1], name
        counts.add(len(outcome["told"]))
    assert {0, len(layers)} <= counts
    assert len(counts) > 4


def test_nothing_half_written_stays(outcomes: dict[str, Any], folder: Path) -> None:
    assert any(outcome["partial"] for outcome in deaths(outcomes).values()), "some died while they wrote"
    for name in deaths(outcomes):
        left = [path.name for path in (folder / name).rglob("*") if "partial" in path.name]
        assert left == [], name
        assert len(list((folder / name / "runs").iterdir())) == 1, name


def test_a_half_written_line_does_not_hide_the_next(outcomes: dict[str, Any], folder: Path) -> None:
    (journal,) = (folder / "line").glob("runs/*/journal.jsonl")
    lines = journal.read_bytes().split(b"\n")
    assert lines[2] == '{"key": "ä'.encode()[:-1]
    assert len(lines) == len(outcomes["line"]["run"]["layers"]) + 2
