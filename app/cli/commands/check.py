"""`benchvise check`: what a run of a recipe would meet, and whether a runtime would load the result."""

from __future__ import annotations

import textwrap
from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.job_forecast import add_forecast, forecast_of
from benchvise.app.cli.exit_codes import BLOCKED, OK
from benchvise.app.cli.job import carry_out
from benchvise.app.cli.options import add_target, add_workspace, named_recipe
from benchvise.core.export.targets.registry import AUTO
from benchvise.core.preflight.reference_model import IN_WORDS
from benchvise.core.preflight.runtimes import RUNTIMES
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Checked, Finding, Fix

MAX_NAMED = 4
_WIDTH = 110


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("recipe", metavar="RECIPE", help="a recipe in YAML, or the name of a shipped one")
    parser.add_argument(
        "path", metavar="PATH", nargs="?", default="", help=f"a checkpoint: a folder or a file (without: {IN_WORDS})"
    )
    parser.add_argument(
        "--for", dest="runtime", choices=[*RUNTIMES], default="", help="the runtime that is to load the result"
    )
    add_target(parser, default=AUTO, runtime=False)
    parser.add_argument("--out", metavar="DIR", default="", help="a folder to write, for which there must be room")
    add_forecast(parser)
    add_workspace(parser)


def _run(arguments: Namespace) -> Reply:
    recipe = named_recipe(arguments.recipe)
    if arguments.path:
        forecast_of(arguments, recipe)  # kept in the workspace, where the check finds it
    request = CheckRecipe(
        path=arguments.path,
        recipe=recipe,
        target=arguments.to,
        runtime=arguments.runtime,
        out=arguments.out,
        workspace=arguments.workspace,
    )
    checked = carry_out(request, Checked, arguments)
    code = OK if checked.may_run and checked.loads else BLOCKED
    return Reply(_as_data(request, checked), _lines(request, checked), code)


def _as_data(request: CheckRecipe, checked: Checked) -> dict[str, object]:
    return {
        "path": request.path,
        "recipe": request.recipe.name,
        "runtime": checked.runtime,
        "target": request.target,
        "may_run": checked.may_run,
        "loads": checked.loads,
        "findings": [
            {
                "kind": finding.kind,
                "level": finding.level,
                "title": finding.title,
                "detail": finding.detail,
                "layers": list(finding.layers),
                "fixes": [_fix_as_data(fix) for fix in finding.fixes],
            }
            for finding in checked.findings
        ],
    }


def _fix_as_data(fix: Fix) -> dict[str, object]:
    recipe = fix.recipe.to_mapping() if fix.recipe is not None else None
    return {"label": fix.label, "recipe": recipe, "target": fix.target}


def _lines(request: CheckRecipe, checked: Checked) -> Iterator[str]:
    if not request.path:
        yield f"checked on {IN_WORDS}"
        yield ""
    for finding in checked.findings:
        yield from finding_lines(finding)
    yield ""
    yield "may run" if checked.may_run else "blocked: the recipe cannot be carried out as it is"
    if checked.runtime:
        title = RUNTIMES[checked.runtime].title
        yield f"{title} loads the result" if checked.loads else f"blocked: {title} would not load the result"


def finding_lines(finding: Finding) -> Iterator[str]:
    """One finding as a person reads it: level and title, why, the first layers, the fixes."""
    yield f"{finding.level:<6}  {finding.title}"
    indent = " " * 8
    if finding.detail:
        yield from textwrap.wrap(
            finding.detail, _WIDTH, initial_indent=indent, subsequent_indent=indent, break_on_hyphens=False
        )
    if finding.layers:
        more = f" and {len(finding.layers) - MAX_NAMED:,} more" if len(finding.layers) > MAX_NAMED else ""
        yield f"{indent}{', '.join(finding.layers[:MAX_NAMED])}{more}"
    for fix in finding.fixes:
        yield f"{indent}· {fix.label}"


CHECK = Subcommand(
    "check", "what a run would meet: room, fallbacks, and whether a runtime loads the result", _add_arguments, _run
)
