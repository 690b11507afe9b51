"""`benchvise presets`: the shipped recipes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.table import number, table, text
from benchvise.core.recipe.presets import Preset, load_preset, presets


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this one as YAML, to start a recipe from")


def _run(arguments: Namespace) -> Reply:
    if arguments.name is not None:
        recipe = load_preset(arguments.name)
        data = next(_as_data(preset) for preset in presets() if preset.name == recipe.name)
        return Reply(data, recipe.to_yaml().splitlines())
    return Reply({"presets": [_as_data(preset) for preset in presets()]}, _lines())


def _as_data(preset: Preset) -> dict[str, object]:
    recipe = preset.recipe
    return {
        "name": preset.name,
        "description": recipe.description,
        "group": preset.group,
        "bits_per_weight": preset.bits_per_weight,
        "calibrates": recipe.needs_calibration,
        "recipe": recipe.to_mapping(),
    }


def _lines() -> Iterator[str]:
    columns = (text("preset"), number("bits/weight"), text("calibrates"), text(""))
    rows = (
        (
            preset.name,
            f"{preset.bits_per_weight:.3f}",
            "yes" if preset.recipe.needs_calibration else "—",
            preset.recipe.description,
        )
        for preset in presets()
    )
    yield from table(columns, rows)


PRESETS = Subcommand("presets", "list the shipped recipes, or print one", _add_arguments, _run)
