"""`benchvise runs`: what the workspace keeps."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.cli.command import Command, Reply
from app.cli.options import add_workspace
from app.cli.quantities import significant, size
from app.cli.table import number, table, text
from core.protocol.results import RunSummary
from core.workspace.workspace import Workspace


def _add_arguments(parser: ArgumentParser) -> None:
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    workspace = Workspace(arguments.workspace)
    runs = workspace.runs()
    return Reply({"workspace": workspace.path, "runs": runs}, _lines(workspace, runs))


def _lines(workspace: Workspace, runs: tuple[RunSummary, ...]) -> Iterator[str]:
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
    yield f"{len(runs)} runs in {workspace.path}"


def _row(run: RunSummary) -> tuple[str, ...]:
    return (
        run.run,
        run.created,
        run.state,
        run.recipe_name or "—",
        f"{run.bits_per_weight:.3f}",
        size(run.bytes_after),
        significant(run.perplexity),
        significant(run.kl_mean),
        significant(run.decode_ms),
        run.checkpoint,
    )


RUNS = Command("runs", "list the runs of the workspace and what was measured on them", _add_arguments, _run)
