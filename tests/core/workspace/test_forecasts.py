"""Forecasts are kept as they were made, and only those from before a run are held against it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from benchvise.core.errors import OutputError
from benchvise.core.protocol.results import DEFAULT_CONTEXT, Comparison, Estimate, Evaluation, Latency, Timing
from benchvise.core.workspace import forecasts
from benchvise.core.workspace.forecasts import ForecastBook, MeasuredRun, bias, compared, track_record
from benchvise.core.workspace.workspace import Workspace
from tests.core.job.compress_samples import network, run_recipe

EARLY, LATE = "2026-01-01T00:00:00.000+00:00", "2026-01-03T00:00:00.000+00:00"


class Clock:
    """Stands in for datetime: each question is a day later."""

    def __init__(self) -> None:
        self.day = 0

    def now(self, _zone: object) -> Clock:
        self.day += 1
        return self

    def isoformat(self, *, timespec: str) -> str:
        assert timespec == "milliseconds"
        return f"2026-01-{self.day:02}T12:00:00.000+00:00"


@pytest.fixture
def book(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ForecastBook:
    monkeypatch.setattr(forecasts, "datetime", Clock())
    return ForecastBook(tmp_path / "forecasts")


def estimate(value: float, share: float = 0.1) -> Estimate:
    return Estimate(value, value * (1 - share), value * (1 + share))


def test_the_latest_before_the_run_counts(book: ForecastBook) -> None:
    for value in (5.0, 6.0, 7.0):  # on the first, the second and the third of January, at noon
        book.keep("c", "r", "seconds", estimate(value))
    assert compared(book, MeasuredRun("c", "r", EARLY, {"seconds": 6.0})) == ()
    (found,) = compared(book, MeasuredRun("c", "r", LATE, {"seconds": 6.3, "kl": 1.0}))
    assert (found.forecast.value, found.measured, found.made[:10]) == (6.0, 6.3, "2026-01-02")
    assert found.inside
    assert found.error == pytest.approx(6 / 6.3 - 1)
    assert compared(book, MeasuredRun("other", "r", LATE, {"seconds": 6.3})) == ()
    assert compared(book, MeasuredRun("c", "other", LATE, {"seconds": 6.3})) == ()


def test_damaged_lines_count_as_not_written(book: ForecastBook, tmp_path: Path) -> None:
    book.keep("c", "r", "kl", estimate(0.5))
    (file,) = (tmp_path / "forecasts").iterdir()
    file.write_text("{broken\n" + file.read_text() + '{"kind": "kl"}\n', encoding="utf-8")
    assert [each.estimate.value for each in book.read("c", "r")] == [0.5]


def test_only_known_kinds_can_be_kept(book: ForecastBook) -> None:
    with pytest.raises(ValueError, match="no kind"):
        book.keep("c", "r", "beauty", estimate(1.0))


def test_a_place_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "forecasts").write_text("a file")
    with pytest.raises(OutputError, match="A file lies where a folder is needed"):
        ForecastBook(tmp_path / "forecasts").keep("c", "r", "kl", estimate(1.0))


def test_bias_is_the_median_of_what_was_not_corrected(book: ForecastBook) -> None:
    runs = []
    for number, measured in enumerate((12.0, 30.0, 15.0)):
        book.keep("c", f"r{number}", "seconds", estimate(99.0), raw=10.0, machine="here", about="gptq")
        runs.append(MeasuredRun("c", f"r{number}", "2027", {"seconds": measured}))
    book.keep("d", "r", "seconds", estimate(10.0), machine="there", about="hqq")
    runs.append(MeasuredRun("d", "r", "2027", {"seconds": 50.0}))
    assert bias(book, runs, "seconds", machine="here", about="gptq") == (1.5, 3)
    assert bias(book, runs, "seconds") == (2.25, 4)
    assert bias(book, runs, "seconds", "d") == (5.0, 1)
    assert bias(book, runs, "kl") == (1.0, 0)


def test_the_track_record_in_numbers() -> None:
    pairs = ((1.0, 1.0), (1.1, 1.0), (2.0, 1.0), (0.5, 1.0))
    found = [Comparison("seconds", estimate(value, 0.2), measured) for value, measured in pairs]
    found.append(Comparison("bytes", Estimate(10.0, 10.0, 10.0), 10.0))
    size, time = track_record(found)
    assert (size.kind, size.runs, size.within, size.inside, size.worst_error) == ("bytes", 1, 1, 1, 0.0)
    assert (time.runs, time.within, time.inside) == (4, 2, 2)
    assert (time.median_error, time.worst_error) == (pytest.approx(0.3), pytest.approx(1.0))
    assert track_record(()) == ()


def test_a_run_is_held_against_the_bytes_that_lie_on_the_disk(tmp_path: Path) -> None:
    checkpoint, place = network(tmp_path / "c"), tmp_path / "w"
    run = run_recipe(checkpoint, place)
    workspace = Workspace(str(place))
    (summary,) = workspace.runs()
    (size,) = summary.comparisons
    assert (size.kind, size.error, size.inside) == ("bytes", 0.0, True)
    assert size.measured == run.bytes_after
    record = workspace.run(run.run)
    records = sum(path.stat().st_size for path in set(record.layer_files.values()))
    assert 0 < record.manifest.stored_bytes < records + sum(path.stat().st_size for path in checkpoint.iterdir())
    # Forecasts that come after the run are not held against it, measurements that come after it are.
    workspace.forecasts.keep(record.manifest.checkpoint_identity, record.manifest.recipe_digest, "kl", estimate(0.5))
    workspace.record_measurement(run.run, Evaluation("run:x", 3.0, 10, 1, 1, 1.0, kl_mean=0.4))
    assert [each.kind for each in workspace.runs()[0].comparisons] == ["bytes"]
    again = run_recipe(checkpoint, place)
    workspace.record_measurement(again.run, Evaluation("run:x", 3.0, 10, 1, 1, 1.0, kl_mean=0.4))
    kl = next(each for run in workspace.runs() for each in run.comparisons if each.kind == "kl")
    assert (kl.forecast.value, kl.measured) == (0.5, 0.4)


def test_latency_is_held_against_forecasts_under_the_conditions_that_these_are_about(tmp_path: Path) -> None:
    run = run_recipe(network(tmp_path / "c"), tmp_path / "w")
    record = Workspace(str(tmp_path / "w")).run(run.run)
    timing = Timing(2.0, 1.5, 3.0, 1000, ())
    latency = Latency(f"run:{run.run}", "CPU", 2, DEFAULT_CONTEXT, 32, timing, replace(timing, median_ms=5.0), 2.5)
    record.add_measurement(latency)
    assert {kind: record.measured().values[kind] for kind in ("decode_ms", "speed_up")} == {
        "decode_ms": 2.0,
        "speed_up": 2.5,
    }
    for other in (replace(latency, context=500), replace(latency, batch=4)):
        record.add_measurement(replace(other, speed_up=9.0, timing=replace(timing, median_ms=9.0)))
    assert record.measured().values["decode_ms"] == 2.0
    assert (record.summary().decode_ms, record.summary().speed_up) == (2.0, 2.5)
