"""Forecasts as they were made, kept so that what is measured later can be held against them."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from benchvise.core.protocol.results import Comparison, Estimate
from benchvise.core.workspace.disk import cannot_write, make_folders

KINDS = ("bytes", "kl", "decode_ms", "speed_up", "peak_bytes", "seconds")
TARGETS = {"bytes": 0.0, "kl": 0.25, "decode_ms": 0.2, "speed_up": 0.2, "peak_bytes": 0.15, "seconds": 0.3}
"""The relative error that a forecast of each kind is to stay within."""


@dataclass(frozen=True)
class Forecast:
    """One forecast of a recipe.

    made:    ISO date and time, UTC. raw: the value before past runs corrected it.
    machine: what must be the same for times to be; about: the way the work is done, such as its solvers. "" for either
             when it makes no difference.
    """

    kind: str
    estimate: Estimate
    made: str
    raw: float
    machine: str = ""
    about: str = ""


class ForecastBook:
    """The forecasts of a workspace by (checkpoint identity, recipe digest): one small file of lines for each pair."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def keep(
        self,
        checkpoint: str,
        recipe: str,
        kind: str,
        estimate: Estimate,
        *,
        raw: float | None = None,
        machine: str = "",
        about: str = "",
    ) -> None:
        """Keep a forecast made now. checkpoint: `checkpoint_identity`; recipe: `Recipe.digest`.

        Raises OutputError when the file cannot be written, and ValueError for an unknown kind.
        """
        if kind not in KINDS:
            raise ValueError(f"no kind of forecast is called {kind!r}")
        made = datetime.now(UTC).isoformat(timespec="milliseconds")
        kept = Forecast(kind, estimate, made, estimate.value if raw is None else raw, machine, about)
        path = self._path(checkpoint, recipe)
        try:
            make_folders(path.parent)
            with path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(kept)) + "\n")
        except OSError as error:
            raise cannot_write(path, error) from error

    def read(self, checkpoint: str, recipe: str) -> tuple[Forecast, ...]:
        """All forecasts of the pair, oldest first; lines that cannot be understood count as not written."""
        try:
            lines = self._path(checkpoint, recipe).read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError):
            return ()
        found = (_forecast(line) for line in lines)
        return tuple(forecast for forecast in found if forecast is not None)

    def before(self, checkpoint: str, recipe: str, created: str) -> dict[str, Forecast]:
        """The latest forecast of each kind that was made no later than `created`."""
        return {each.kind: each for each in self.read(checkpoint, recipe) if each.made <= created}

    def _path(self, checkpoint: str, recipe: str) -> Path:
        return self._folder / f"{checkpoint[:24]}-{recipe[:24]}.jsonl"


@dataclass(frozen=True)
class MeasuredRun:
    """A finished run and what was measured on it, by kind."""

    checkpoint: str
    recipe: str
    created: str
    values: Mapping[str, float]


def compared(book: ForecastBook, run: MeasuredRun) -> tuple[Comparison, ...]:
    """What was forecast before the run beside what was measured, in the order of `KINDS`."""
    forecasts = book.before(run.checkpoint, run.recipe, run.created)
    return tuple(
        Comparison(kind, forecasts[kind].estimate, run.values[kind], forecasts[kind].made)
        for kind in KINDS
        if kind in forecasts and kind in run.values
    )


def bias(
    book: ForecastBook,
    runs: Iterable[MeasuredRun],
    kind: str,
    checkpoint: str = "",
    *,
    machine: str = "",
    about: str = "",
) -> tuple[float, int]:
    """Median of measured ÷ forecast (before any correction), and over how many runs; (1, 0) without any.

    Runs of that checkpoint, machine and way of work alone, where they are named.
    """
    ratios = []
    for run in runs:
        forecast = book.before(run.checkpoint, run.recipe, run.created).get(kind)
        if forecast is None or kind not in run.values or checkpoint not in ("", run.checkpoint):
            continue
        comparable = machine in ("", forecast.machine) and about in ("", forecast.about)
        if comparable and forecast.raw > 0 and run.values[kind] > 0:
            ratios.append(run.values[kind] / forecast.raw)
    return (statistics.median(ratios), len(ratios)) if ratios else (1.0, 0)


@dataclass(frozen=True)
class Record:
    """How well forecasts of one kind did: relative errors without sign, and how many runs kept within what was said.

    inside: within the range that was forecast. within: within `target`, the relative error that is aimed at.
    """

    kind: str
    runs: int
    median_error: float
    worst_error: float
    inside: int
    within: int
    target: float


def track_record(comparisons: Iterable[Comparison]) -> tuple[Record, ...]:
    """One row per kind that was ever compared, in the order of `KINDS`."""
    found = list(comparisons)
    records = []
    for kind in KINDS:
        of_kind = [each for each in found if each.kind == kind]
        if of_kind:
            errors = [abs(each.error) for each in of_kind]
            target = TARGETS[kind]
            within = sum(error <= target for error in errors)
            inside = sum(each.inside for each in of_kind)
            records.append(Record(kind, len(of_kind), statistics.median(errors), max(errors), inside, within, target))
    return tuple(records)


def _forecast(line: str) -> Forecast | None:
    try:
        found = json.loads(line)
        return Forecast(**(found | {"estimate": Estimate(**found["estimate"])}))
    except (ValueError, TypeError, KeyError):
        return None
