"""What a job will take, for `benchvise plan --forecast`."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.job import carry_out
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.protocol.requests import ForecastJob
from benchvise.core.protocol.results import JobForecast
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.text import byte_text, estimated_bytes, estimated_duration, rough_duration_text


def add_forecast(parser: ArgumentParser) -> None:
    """--forecast, for parsers that have --workspace."""
    parser.add_argument(
        "--forecast", action="store_true", help="also time, peak memory and disk of the job, tried out on this machine"
    )


def forecast_of(arguments: Namespace, recipe: Recipe) -> JobForecast | None:
    """The forecast when --forecast asks for it."""
    if not arguments.forecast:
        return None
    return carry_out(ForecastJob(arguments.path, recipe, workspace=arguments.workspace), JobForecast, arguments)


def forecast_data(found: JobForecast) -> dict[str, object]:
    parts = [{"part": name, "seconds": seconds} for name, seconds in found.parts]
    memory = [{"part": name, "bytes": nbytes} for name, nbytes in found.memory]
    return {"job": fields_of(found) | {"parts": parts, "memory": memory}}


def forecast_lines(found: JobForecast) -> Iterator[str]:
    seconds, peak = found.seconds, found.peak_bytes
    yield f"time: {estimated_duration(seconds.value, seconds.low, seconds.high)} on {found.device}"
    for name, part in found.parts:
        yield f"  ≈ {rough_duration_text(part)} {name}"
    yield f"peak memory: {estimated_bytes(peak.value, peak.low, peak.high)}"
    for name, nbytes in found.memory:
        if nbytes:
            yield f"  ≈ {byte_text(nbytes)} {name}"
    yield f"disk: up to {byte_text(found.disk_bytes)} while it runs"
    yield from found.notes
