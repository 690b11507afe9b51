"""From arguments to an exit code: parse, run, print; every failure becomes a sentence and a code."""

from __future__ import annotations

import contextlib
import io
import os
import re
import sys
import traceback
from argparse import ArgumentParser, Namespace
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import NoReturn

from benchvise.app.cli import exit_codes
from benchvise.app.cli.command import Reply, Subcommand, UsageError
from benchvise.app.cli.commands import COMMANDS
from benchvise.app.cli.strict_json import to_json
from benchvise.core.errors import Cancelled, OutputError, UserError
from benchvise.core.settings import did_you_mean


class _Parser(ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(message[:1].upper() + message[1:], self.format_usage().strip())


@dataclass(frozen=True)
class _Failure:
    what: str
    where: str
    remedy: str
    code: int


def main(argv: Sequence[str]) -> int:
    """Run one command. `argv` starts with its name. Returns the exit code; raises nothing."""
    as_json = "--json" in argv
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a terminal without Unicode gets escapes, no digit is lost
            stream.reconfigure(errors="backslashreplace")
    command: Subcommand | None = None
    try:
        arguments = _parse(list(argv))
        command = COMMANDS[arguments.command]
        # Whatever a library prints goes beside the answer, so that a pipe gets the answer alone.
        with contextlib.redirect_stdout(sys.stderr):
            reply = command.run(arguments)
        _print(reply, as_json=as_json)
        return reply.code
    except SystemExit as stop:  # --help and --version, already printed
        return int(stop.code or 0)
    except (Exception, KeyboardInterrupt) as error:  # noqa: BLE001 - the last place where a fault can be reported
        failure = _failure(error, command)
        _report(failure, as_json=as_json)
        return failure.code


def _failure(error: BaseException, command: Subcommand | None) -> _Failure:
    match error:
        case UsageError():
            return _Failure(error.what, "", error.remedy, exit_codes.USAGE)
        case OutputError():
            return _Failure(error.what, error.where, error.remedy, exit_codes.OUTPUT)
        case UserError():
            return _Failure(error.what, error.where, error.remedy, exit_codes.INPUT)
        case Cancelled() | KeyboardInterrupt():
            return _Failure("Cancelled", "", command.after_cancel if command else "", exit_codes.CANCELLED)
    traceback.print_exception(error, file=sys.stderr)
    what = f"Benchvise failed: {type(error).__name__}: {error}"
    return _Failure(what, "", "This is a fault of the program; please report it.", exit_codes.OURS)


def _report(failure: _Failure, *, as_json: bool) -> None:
    if as_json:
        error = {"what": failure.what, "where": failure.where, "remedy": failure.remedy}
        with contextlib.suppress(OSError):  # nowhere left to say it; the exit code still does
            sys.stdout.write(to_json({"error": error}) + "\n")
            sys.stdout.flush()
        return
    sys.stderr.write(f"benchvise: {UserError(failure.what, where=failure.where)}\n")
    if failure.remedy:
        sys.stderr.write(f"  {failure.remedy}\n")


def _print(reply: Reply, *, as_json: bool) -> None:
    out = sys.stdout
    try:
        out.writelines(f"{line}\n" for line in ([to_json(reply.data)] if as_json else reply.lines))
        out.flush()
    except BrokenPipeError:
        # The reader has what it wanted, as in `| head`. What is still buffered must not fail again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), out.fileno())
        raise OutputError(f"The answer cannot be written: {error.strerror}", where="standard output") from error


def _parse(argv: list[str]) -> Namespace:
    if argv and not argv[0].startswith("-") and argv[0] not in COMMANDS:
        raise UsageError(f"There is no command '{argv[0]}'", did_you_mean(argv[0], COMMANDS))
    arguments, unknown = build_parser().parse_known_args(argv)
    if unknown:
        option = unknown[0].split("=")[0]
        hint = did_you_mean(option, _options(arguments.command)) if option.startswith("-") else ""
        see = f"`benchvise {arguments.command} --help` shows how it goes."
        raise UsageError(f"'{option}' is not understood", f"{hint} {see}".strip())
    return arguments


def _options(command: str) -> list[str]:
    parser = _Parser(allow_abbrev=False)
    _fill(parser, COMMANDS[command])
    return re.findall(r"--[a-z-]+", parser.format_help())


def build_parser() -> ArgumentParser:
    """The whole command line, built from the table of commands."""
    parser = _Parser(
        prog="benchvise",
        description="Squeeze model checkpoints: look, choose, compress, compare, export. No command opens the window.",
        epilog=exit_codes.SUMMARY,
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"benchvise {_version()}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True, parser_class=_Parser)
    for command in COMMANDS.values():
        own = commands.add_parser(
            command.name,
            help=command.help,
            description=command.help,
            epilog=exit_codes.SUMMARY,
            allow_abbrev=False,
        )
        _fill(own, command)
    return parser


def _fill(parser: ArgumentParser, command: Subcommand) -> None:
    command.add_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object and nothing else")
    parser.add_argument("-v", "--verbose", action="store_true", default=False, help="show the job's log on stderr")


def _version() -> str:
    try:
        return version("benchvise")
    except PackageNotFoundError:  # run from a checkout
        return "from source"
