"""`benchvise convert`: write a checkpoint in another format, with the values it has."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.export import exported_lines
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_path, add_target, chosen_target
from benchvise.app.cli.strict_json import fields_of
from benchvise.core.protocol.requests import Convert
from benchvise.core.protocol.results import Exported


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_target(parser, default=None)
    parser.add_argument(
        "--out", metavar="PATH", required=True, help="a folder, or the file of a target that writes one; must not exist"
    )


def _run(arguments: Namespace) -> Reply:
    exported = carry_out(Convert(arguments.path, chosen_target(arguments), arguments.out), Exported, arguments)
    return Reply(fields_of(exported), exported_lines(exported))


CONVERT = Subcommand("convert", "write a checkpoint in another format, with the values it has", _add_arguments, _run)
