"""`benchvise report` and `benchvise reproduce`: what a run made of what, and doing it again."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator
from pathlib import PurePath

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.exit_codes import BLOCKED, OK
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_workspace
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.protocol.requests import MakeReport, Reproduce
from benchvise.core.protocol.results import Reported, Reproduced


def _add_report(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a finished run of the workspace")
    parser.add_argument(
        "--out", metavar="FILE", default="", help="a new file: .html, .json or .md (default: print the report)"
    )
    parser.add_argument("--markdown", action="store_true", help="a section of a model card instead of an HTML page")
    parser.add_argument("--prompt", metavar="TEXT", default="", help="let both models continue this text")
    add_workspace(parser)


def _report(arguments: Namespace) -> Reply:
    by_name = {".json": "json", ".md": "markdown"}.get(PurePath(arguments.out).suffix.lower(), "html")
    form = "markdown" if arguments.markdown else by_name
    request = MakeReport(arguments.run, form, arguments.out, arguments.prompt, arguments.workspace)
    reported = carry_out(request, Reported, arguments)
    lines = (f"written to {reported.out}",) if reported.out else (reported.text.rstrip("\n"),)
    return Reply(fields_of(reported.report), lines)


def _add_reproduce(parser: ArgumentParser) -> None:
    parser.add_argument("report", metavar="REPORT", help="a report as .html or .json")
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="the checkpoint (default: the run's own)")
    parser.add_argument("--text", metavar="FILE", default="", help="the calibration text (default: the run's own)")
    add_workspace(parser)


def _reproduce(arguments: Namespace) -> Reply:
    request = Reproduce(arguments.report, arguments.path, arguments.text, arguments.workspace)
    found = carry_out(request, Reproduced, arguments)
    return Reply(fields_of(found), _lines(found), BLOCKED if found.different else OK)


def _lines(found: Reproduced) -> Iterator[str]:
    yield from found.changes
    for name in found.different:
        yield f"different: {name}"
    yield f"{len(found.same)} of {len(found.same) + len(found.different)} layers have the hashes of the report"


REPORT = Subcommand("report", "what a run made of what, measured: HTML, JSON or Markdown", _add_report, _report)
REPRODUCE = Subcommand("reproduce", "carry out a report's recipe again and compare hashes", _add_reproduce, _reproduce)
