"""`benchvise sensitivity`: the KL increase at the model's output when one layer alone is treated."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.budget import METHODS
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_path, add_text, add_windows, add_workspace
from benchvise.app.cli.strict_json import fields_of
from benchvise.app.cli.table import number, table, text
from benchvise.app.cli.treatment_words import parse_treatment_words
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.errors import RecipeError
from benchvise.core.methods.calibration import Calibration
from benchvise.core.protocol.requests import MeasureSensitivity
from benchvise.core.protocol.results import Sensitivity
from benchvise.core.recipe.layer_matcher import matching
from benchvise.core.settings import did_you_mean
from benchvise.core.text import duration_text, number_text

DEFAULT_TREATMENT = "int4 g128"
METHOD_WORDS = {"enable_one": "treating it alone", "disable_one": "sparing it alone", "fisher": "estimating"}


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_text(parser)
    parser.add_argument(
        "--treatment",
        metavar="TREATMENT",
        nargs="+",
        action="extend",
        help=f"tags such as 'int8 channel', presets, or YAML ({DEFAULT_TREATMENT})",
    )
    parser.add_argument(
        "--layers", metavar="PATTERN", nargs="+", action="extend", help="names or patterns as in a recipe (linears)"
    )
    parser.add_argument("--method", choices=METHODS, default="enable_one", help="how sensitivity is found (enable_one)")
    parser.add_argument("--seconds", metavar="S", type=float, default=60.0, help="for measuring, with auto (60)")
    parser.add_argument("--correct", action="store_true", help="also measure what layers do together")
    parser.add_argument(
        "--calibration", metavar="FILE", default="", help="what solvers learn from (default: the shipped text)"
    )
    add_windows(parser, windows=4, window_tokens=128)
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    words = arguments.treatment or [DEFAULT_TREATMENT]
    request = MeasureSensitivity(
        path=arguments.path,
        text=arguments.text,
        treatments=tuple(dict.fromkeys(parse_treatment_words(word) for word in words)),
        layers=_layers(arguments.path, arguments.layers or ()),
        windows=arguments.windows,
        window_tokens=arguments.window_tokens,
        workspace=arguments.workspace,
        method=arguments.method,
        seconds=arguments.seconds,
        correct=arguments.correct,
        calibration=Calibration(text=arguments.calibration),
    )
    sensitivity = carry_out(request, Sensitivity, arguments)
    data = {
        "path": arguments.path,
        "layers": [_as_data(fields_of(cell)) for cell in sensitivity.cells],
        "tokens": sensitivity.tokens,
        "seconds": sensitivity.seconds,
        "key": sensitivity.key,
        "rank_correlation": sensitivity.rank_correlation,
        "compared": sensitivity.compared,
        "joint_effects": [fields_of(each) for each in sensitivity.joint_effects],
        "warnings": sensitivity.warnings,
    }
    return Reply(data, _lines(sensitivity))


def _layers(path: str, patterns: list[str] | tuple[str, ...]) -> tuple[str, ...]:
    if not patterns:
        return ()
    layers = open_checkpoint(path).layers
    found, unmatched = matching(patterns, layers)
    if unmatched:
        hints = " ".join(did_you_mean(pattern, (layer.name for layer in layers)) for pattern in unmatched)
        names = ", ".join(f"'{pattern}'" for pattern in unmatched)
        raise RecipeError(f"--layers {names} matches no layer", where=path, remedy=hints)
    return tuple(layers[index].name for index in sorted(found))


def _as_data(cell: dict[str, object]) -> dict[str, object]:
    return {"name": cell.pop("layer"), **cell}


def _lines(sensitivity: Sensitivity) -> Iterator[str]:
    columns = (
        text("layer"),
        text("treatment"),
        number("KL", "nats/token"),
        number("output error"),
        number("SQNR", "dB"),
        text("found by"),
    )
    cells = sorted(sensitivity.cells, key=lambda cell: -cell.kl)
    yield from table(
        columns,
        (
            (
                cell.layer,
                cell.treatment,
                number_text(cell.kl),
                number_text(cell.output_error, 3),
                number_text(cell.sqnr_db, 4),
                METHOD_WORDS[cell.method],
            )
            for cell in cells
        ),
    )
    yield ""
    if sensitivity.rank_correlation is not None:
        yield (
            f"estimated and measured KL increases agree in rank by {sensitivity.rank_correlation:.3f} "
            f"over {sensitivity.compared:,} cells"
        )
    for each in sensitivity.joint_effects:
        yield f"together: KL {number_text(each.measured)} where single KL increases add up to {number_text(each.added)}"
    yield f"most fragile first; {sensitivity.tokens:,} tokens, {duration_text(sensitivity.seconds)}"
    for warning in sensitivity.warnings:
        yield f"warning: {warning}"


SENSITIVITY = Subcommand(
    "sensitivity",
    "how much the output suffers when one layer alone is treated",
    _add_arguments,
    _run,
    after_cancel="What was measured is kept in the workspace; the same command takes it up.",
)
