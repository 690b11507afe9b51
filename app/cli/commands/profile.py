"""`benchvise profile`: what this machine's kernels take, as a file that forecasts on another machine can read."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_workspace
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.app.cli.treatment_words import parse_treatment_words
from benchvise.core.protocol.requests import MeasureProfile
from benchvise.core.protocol.results import MachineProfile
from benchvise.core.text import byte_text


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", nargs="?", default="", help="a checkpoint whose layers are timed too")
    parser.add_argument("--out", metavar="FILE", default="", help="where to write it, to be carried elsewhere")
    parser.add_argument("--name", metavar="NAME", default="", help="what to call this machine (its processor's name)")
    parser.add_argument(
        "--treatment", metavar="TREATMENT", nargs="+", action="extend", help="timed beside the standard ones"
    )
    parser.add_argument("--quick", action="store_true", help="fewer sizes, fewer repetitions")
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    request = MeasureProfile(
        path=arguments.path,
        treatments=tuple(dict.fromkeys(parse_treatment_words(word) for word in arguments.treatment or ())),
        quick=arguments.quick,
        out=arguments.out,
        workspace=arguments.workspace,
        name=arguments.name,
    )
    profile = carry_out(request, MachineProfile, arguments)
    return Reply(fields_of(profile), _lines(profile))


def _lines(profile: MachineProfile) -> Iterator[str]:
    counts = sorted({linear.tokens for linear in profile.linears})
    columns = (
        text("layer"),
        text("weights"),
        text("model"),
        number("read"),
        *(number(f"{n} in", "ms") for n in counts),
    )
    times = {(t.rows, t.columns, t.key, t.dtype, t.tokens): t for t in profile.linears}
    sizes = {shape[:4]: time for shape, time in times.items()}
    yield from table(
        columns,
        (
            (
                f"{rows} × {cols}",
                size.tag,
                dtype,
                byte_text(size.weight_bytes),
                *(_ms(times[shape].ms if (shape := (rows, cols, key, dtype, n)) in times else None) for n in counts),
            )
            for (rows, cols, key, dtype), size in sizes.items()
        ),
    )
    yield ""
    yield f"{profile.machine}, {profile.threads} threads, torch {profile.torch}, {profile.created}"
    yield f"written to {profile.file}"


def _ms(value: float | None) -> str:
    return "—" if value is None else f"{value:.4f}"


PROFILE = Subcommand("profile", "measure this machine's kernels, for forecasts on others", _add_arguments, _run)
