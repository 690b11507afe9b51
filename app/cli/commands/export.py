"""`benchvise export`: write a run for a runtime."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_target, add_workspace, chosen_target
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.protocol.requests import Export
from benchvise.core.protocol.results import Exported
from benchvise.core.text import byte_text
from benchvise.core.wording import sentences


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("run", metavar="RUN", help="a run of the workspace, or a folder that compress wrote")
    add_target(parser, default=None)
    parser.add_argument(
        "--out", metavar="PATH", required=True, help="a folder, or the file of a target that writes one; must not exist"
    )
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = Export(arguments.run, chosen_target(arguments), arguments.out, arguments.workspace)
    exported = carry_out(request, Exported, arguments)
    return Reply(fields_of(exported), exported_lines(exported))


def exported_lines(exported: Exported) -> Iterator[str]:
    """What was written, for people."""
    yield f"written to {exported.out} ({exported.target}), {byte_text(exported.bytes_on_disk)}"
    for file in exported.files:
        yield f"  {file}"
    if exported.verified:
        yield f"verified: {exported.verified}"
    for warning in sentences(exported.warnings):
        yield f"warning: {warning}"


EXPORT = Subcommand("export", "write a run as a checkpoint that a runtime loads", _add_arguments, _run)
