"""`benchvise latency`: milliseconds to read a prompt and per decoding step, measured."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_against, add_source, add_workspace, whole
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.core.protocol.requests import MeasureLatency
from benchvise.core.protocol.results import Latency, Timing
from benchvise.core.text import byte_text


def _add_arguments(parser: ArgumentParser) -> None:
    add_source(parser)
    add_against(parser)
    parser.add_argument("--tokens", metavar="N", type=whole(1), default=32, help="tokens to decode each time (32)")
    parser.add_argument(
        "--repetitions",
        metavar="N",
        type=whole(1),
        default=0,
        help="how often to repeat (5 times, more where times are unsteady)",
    )
    parser.add_argument(
        "--context", metavar="N", type=whole(1), default=32, help="tokens before the first decoded (32)"
    )
    parser.add_argument("--batch", metavar="N", type=whole(1), default=1, help="sequences side by side (1)")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = MeasureLatency(
        source=arguments.path,
        against=arguments.against,
        tokens=arguments.tokens,
        repetitions=arguments.repetitions,
        context=arguments.context,
        workspace=arguments.workspace,
        batch=arguments.batch,
    )
    latency = carry_out(request, Latency, arguments)
    data = {
        **_as_data(latency.timing),
        "source": latency.source,
        "device": latency.device,
        "threads": latency.threads,
        "context": latency.context,
        "tokens": latency.tokens,
        "batch": latency.batch,
    }
    if latency.against is not None:
        data |= {"against": _as_data(latency.against), "speed_up": latency.speed_up}
    return Reply(data, _lines(latency))


def _as_data(timing: Timing) -> dict[str, object]:
    routes = [{"route": route, "layers": layers} for route, layers in timing.routes]
    return fields_of(timing) | {"tokens_per_second": timing.tokens_per_second, "routes": routes}


def _lines(latency: Latency) -> Iterator[str]:
    columns = (
        text(""),
        number("median", "ms/step"),
        number("least", "ms"),
        number("greatest", "ms"),
        number("rate", "tokens/s"),
        number("prefill", "ms"),
        number("weights"),
        number("peak memory"),
    )
    timings = [("this", latency.timing)] + ([("original", latency.against)] if latency.against else [])
    yield from table(columns, (_row(name, timing) for name, timing in timings))
    yield ""
    if latency.speed_up is not None:
        yield f"{latency.speed_up:.2f} times as fast as the original"
    routes = ", ".join(f"{route} ({layers})" for route, layers in latency.timing.routes)
    sequences = "one sequence" if latency.batch == 1 else f"{latency.batch} sequences at once"
    yield f"{sequences}, {latency.context} tokens of prefill each; a step decodes one token of each"
    yield f"on {latency.device}, {latency.threads} threads; kernels: {routes or 'none'}"
    for fallback in latency.timing.fallbacks:
        yield f"fallback: {fallback}"


def _row(name: str, timing: Timing) -> tuple[str, ...]:
    times = (timing.median_ms, timing.least_ms, timing.greatest_ms)
    sizes = (byte_text(timing.weight_bytes), byte_text(timing.peak_bytes))
    prefill = "—" if timing.prefill_ms is None else f"{timing.prefill_ms:.2f}"
    return name, *(f"{ms:.3f}" for ms in times), f"{timing.tokens_per_second:.1f}", prefill, *sizes


LATENCY = Subcommand("latency", "prefill and decode latency on the kernels that fit, measured", _add_arguments, _run)
