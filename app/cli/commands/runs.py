"""`benchvise runs`: what the workspace keeps."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_workspace
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.app.text.track_record import TITLES, quantity_text, summary_text
from benchvise.core.protocol.requests import ListRuns
from benchvise.core.protocol.results import Comparison, RunList, RunSummary
from benchvise.core.text import byte_text, number_text
from benchvise.core.workspace.forecasts import Record, track_record
from benchvise.core.workspace.housekeeping import clean_up, remove_runs, usage_of
from benchvise.core.workspace.workspace import Workspace


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--track-record", action="store_true", help="what was forecast before each run, beside what was measured"
    )
    parser.add_argument(
        "--remove", metavar="RUN", nargs="+", default=[], help="remove these runs, and what no other run refers to"
    )
    parser.add_argument("--clean", action="store_true", help="remove unfinished runs, and what no run refers to")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    if arguments.remove or arguments.clean:
        return _remove(arguments)
    listed = carry_out(ListRuns(arguments.workspace), RunList, arguments)
    workspace, runs = listed.workspace, listed.runs
    if arguments.track_record:
        return _track_record(workspace, runs)
    return Reply({"workspace": workspace, "runs": runs}, _lines(workspace, runs))


def _remove(arguments: Namespace) -> Reply:
    workspace = Workspace(arguments.workspace)
    freed = remove_runs(workspace, arguments.remove) if arguments.remove else 0
    if arguments.clean:
        freed += clean_up(workspace)
    data = {"workspace": str(workspace.path), "freed_bytes": freed}
    return Reply(data, [f"{byte_text(freed)} freed in {workspace.path}"])


def _lines(workspace: str, runs: tuple[RunSummary, ...]) -> Iterator[str]:
    if runs:
        columns = (
            text("run"),
            text("created"),
            text("state"),
            text("recipe"),
            number("bits/weight"),
            number("after"),
            number("perplexity"),
            number("KL", "nats/token"),
            number("decode", "ms/token"),
            text("checkpoint"),
        )
        yield from table(columns, (_row(run) for run in runs))
        yield ""
    usage = usage_of(Workspace(workspace))
    loose = f", {byte_text(usage.unfinished_bytes)} of it unfinished (--clean)" if usage.unfinished_bytes else ""
    yield f"{len(runs)} runs in {workspace}: {byte_text(usage.nbytes)}{loose}"


def _track_record(workspace: str, runs: tuple[RunSummary, ...]) -> Reply:
    compared = [(run, each) for run in runs for each in run.comparisons]
    records = track_record(each for _, each in compared)
    data = {
        "workspace": workspace,
        "comparisons": [
            {"run": run.run, "recipe": run.recipe_name, **fields_of(each), "error": each.error, "inside": each.inside}
            for run, each in compared
        ],
        "kinds": records,
    }
    return Reply(data, _track_lines(workspace, compared, records))


def _track_lines(
    workspace: str, compared: list[tuple[RunSummary, Comparison]], records: tuple[Record, ...]
) -> Iterator[str]:
    if not compared:
        yield f"No run in {workspace} was forecast before it was made."
        return
    of_runs = (
        text("run"), text("recipe"), text("what"), number("forecast"), number("from"), number("to"),
        number("measured"), number("error"), text("in range"),
    )  # fmt: skip
    yield from table(of_runs, (_compared_row(run, each) for run, each in compared))
    yield ""
    of_kinds = (
        text("what"), number("runs"), number("median error"), number("worst error"), number("in range"),
        number("within target"),
    )  # fmt: skip
    yield from table(of_kinds, (_record_row(record) for record in records))
    yield ""
    yield f"{summary_text(records)}."


def _compared_row(run: RunSummary, each: Comparison) -> tuple[str, ...]:
    forecast = each.forecast
    values = (forecast.value, forecast.low, forecast.high, each.measured)
    value, low, high, measured = (quantity_text(each.kind, value) for value in values)
    error, inside = f"{each.error:+.1%}", "yes" if each.inside else "no"
    return run.run, run.recipe_name or "—", TITLES[each.kind], f"≈ {value}", low, high, measured, error, inside


def _record_row(record: Record) -> tuple[str, ...]:
    within = f"{record.within} of {record.runs} ({'exact' if not record.target else f'± {record.target:.0%}'})"
    return (
        TITLES[record.kind],
        str(record.runs),
        f"{record.median_error:.1%}",
        f"{record.worst_error:.1%}",
        f"{record.inside} of {record.runs}",
        within,
    )


def _row(run: RunSummary) -> tuple[str, ...]:
    return (
        run.run,
        run.created,
        run.state,
        run.recipe_name or "—",
        f"{run.bits_per_weight:.3f}",
        byte_text(run.bytes_after),
        number_text(run.perplexity),
        number_text(run.kl_mean),
        number_text(run.decode_ms),
        run.checkpoint,
    )


RUNS = Subcommand("runs", "list the runs of the workspace and what was measured on them", _add_arguments, _run)
