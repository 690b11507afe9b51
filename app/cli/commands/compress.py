"""`benchvise compress`: carry a recipe out and write the result."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.check import finding_lines
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import (
    add_calibration,
    add_path,
    add_recipe,
    add_target,
    add_workspace,
    chosen_recipe,
    chosen_target,
)
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.core.export.targets.registry import AUTO
from benchvise.core.preflight.resources import NOT_FORECAST
from benchvise.core.protocol.requests import CheckRecipe, Compress
from benchvise.core.protocol.results import Checked, Run
from benchvise.core.text import byte_text, decibel_text, duration_text
from benchvise.core.wording import sentences


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_recipe(parser)
    parser.add_argument(
        "--out", metavar="PATH", required=True, help="a folder, or the file of a target that writes one; must not exist"
    )
    add_target(parser, default=AUTO)
    parser.add_argument(
        "--dense",
        action="store_true",
        help="also write every layer dense, for whoever cannot read packed ones: to PATH-dense when PATH is packed",
    )
    add_calibration(parser)
    parser.add_argument("--resume", action="store_true", help="take up the finished layers of an interrupted run")
    parser.add_argument(
        "--cluster",
        metavar="ADDRESS",
        default="",
        help="compute layers that stand for themselves on a Ray cluster, by its address, or 'auto' for this machine's",
    )
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = Compress(
        path=arguments.path,
        recipe=chosen_recipe(arguments),
        workspace=arguments.workspace,
        out=arguments.out,
        target=chosen_target(arguments),
        resume=arguments.resume,
        dense=_beside(arguments.out) if arguments.dense else "",
        cluster=arguments.cluster,
    )
    if not arguments.json:
        sys.stderr.writelines(f"{line}\n" for line in _estimated(request, arguments))
    run = carry_out(request, Run, arguments)
    return Reply(fields_of(run), _lines(run))


def _estimated(request: Compress, arguments: Namespace) -> Iterator[str]:
    """What the run will not do as the recipe says. What blocks it, the run itself says."""
    ask = CheckRecipe(
        request.path,
        request.recipe,
        request.target,
        out=request.out,
        workspace=request.workspace,
        resume=request.resume,
        cluster=request.cluster,
    )
    checked = carry_out(ask, Checked, arguments)
    for finding in checked.findings if checked.may_run else ():
        if finding.level in ("warns", "tells") and finding.kind not in NOT_FORECAST:
            yield from finding_lines(replace(finding, fixes=()))


def _beside(out: str) -> str:
    """The sibling of `out` for dense layers."""
    return f"{Path(out).expanduser().resolve()}-dense" if out else ""


def _lines(run: Run) -> Iterator[str]:
    columns = (
        text("layer"),
        text("treatment"),
        number("bits/weight"),
        number("SQNR", "dB"),
        number("largest error"),
        number("after"),
    )
    rows = (
        (
            layer.name,
            layer.treatment,
            f"{layer.bits_per_weight:.3f}",
            decibel_text(layer.sqnr_db),
            f"{layer.max_error:.3g}",
            byte_text(layer.bytes_after),
        )
        for layer in run.layers
    )
    yield from table(columns, rows)
    yield ""
    yield f"{byte_text(run.bytes_before)} → {byte_text(run.bytes_after)}, {run.bits_per_weight:.3f} bits per weight"
    yield f"{duration_text(run.seconds)}, peak memory {byte_text(run.peak_rss_bytes)}"
    yield f"run {run.run}"
    if run.out:
        yield f"written to {run.out} ({run.target})"
    if run.dense and run.dense != run.out:
        yield f"written to {run.dense} (dense)"
    for warning in sentences(run.warnings):
        yield f"warning: {warning}"


COMPRESS = Subcommand(
    "compress",
    "compress a checkpoint by a recipe and write the result",
    _add_arguments,
    _run,
    after_cancel="Finished layers are kept; the same command with --resume takes them up.",
)
