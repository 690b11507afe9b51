"""`benchvise forecast`: latency of a recipe before it is run, on this machine or another."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_path, add_recipe, add_workspace, chosen_recipe, whole
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.core.protocol.requests import ForecastLatency
from benchvise.core.protocol.results import Estimate, LatencyForecast
from benchvise.core.text import byte_text


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_recipe(parser)
    parser.add_argument("--batch", metavar="N", type=whole(1), default=1, help="sequences side by side (1)")
    parser.add_argument("--context", metavar="N", type=whole(1), default=32, help="tokens before the decoded one (32)")
    parser.add_argument("--prompt", metavar="N", type=whole(0), default=0, help="also forecast reading so many tokens")
    parser.add_argument(
        "--profile", metavar="FILE", default="", help="another machine's, written there by `benchvise profile`"
    )
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = ForecastLatency(
        path=arguments.path,
        recipe=chosen_recipe(arguments),
        workspace=arguments.workspace,
        batch=arguments.batch,
        context=arguments.context,
        prompt=arguments.prompt,
        profile=arguments.profile,
    )
    forecast = carry_out(request, LatencyForecast, arguments)
    return Reply(fields_of(forecast), _lines(forecast))


def _lines(forecast: LatencyForecast) -> Iterator[str]:
    columns = (text(""), number("ms"), number("range", "ms"), number("rate", "tokens/s"), number("weights"))
    before, after = forecast.before_ms, forecast.after_ms
    rows = [
        _row("decoding, original", before, forecast.batch, byte_text(forecast.weight_bytes_before)),
        _row("decoding, recipe", after, forecast.batch, byte_text(forecast.weight_bytes_after)),
    ]
    if forecast.prefill_before_ms is not None and forecast.prefill_after_ms is not None:
        tokens = forecast.batch * forecast.prompt
        rows.append(_row("prompt, original", forecast.prefill_before_ms, tokens, ""))
        rows.append(_row("prompt, recipe", forecast.prefill_after_ms, tokens, ""))
    yield from table(columns, rows)
    yield ""
    gain = forecast.speed_up
    yield f"≈{gain.value:.2f} times as fast as the original ({gain.low:.2f} to {gain.high:.2f})"
    sequences = "one sequence" if forecast.batch == 1 else f"{forecast.batch} sequences at once"
    prompt = f", prompts of {forecast.prompt}" if forecast.prompt else ""
    yield f"{sequences}, {forecast.context} tokens of context{prompt}; a step decodes one token of each"
    yield f"on {'another machine' if forecast.other_machine else 'this machine'}: {forecast.machine}"
    for fallback in forecast.fallbacks:
        yield f"fallback: {fallback}"


def _row(name: str, ms: Estimate, tokens: int, weights: str) -> tuple[str, ...]:
    rate = f"≈{1000 * tokens / ms.value:.0f}" if ms.value else "—"
    return name, f"≈{ms.value:.3f}", f"{ms.low:.3f} to {ms.high:.3f}", rate, weights


FORECAST = Subcommand(
    "forecast", "latency of a recipe before it runs, here or on another machine", _add_arguments, _run
)
