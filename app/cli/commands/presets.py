"""`benchvise presets`: the shipped recipes."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.cli.command import Command, Reply
from app.cli.table import table, text
from core.recipe.presets import load_preset, preset_names
from core.recipe.recipe import Recipe


def _add_arguments(parser: ArgumentParser) -> None:
    parser.add_argument("name", metavar="NAME", nargs="?", help="print this one as YAML, to start a recipe from")


def _run(arguments: Namespace) -> Reply:
    if arguments.name is not None:
        recipe = load_preset(arguments.name)
        return Reply(_as_data(arguments.name, recipe), recipe.to_yaml().splitlines())
    recipes = {name: load_preset(name) for name in preset_names()}
    return Reply({"presets": [_as_data(name, recipe) for name, recipe in recipes.items()]}, _lines(recipes))


def _as_data(name: str, recipe: Recipe) -> dict[str, object]:
    return {"name": name, "description": recipe.description, "recipe": recipe.to_mapping()}


def _lines(recipes: dict[str, Recipe]) -> Iterator[str]:
    yield from table((text("preset"), text("")), ((name, recipe.description) for name, recipe in recipes.items()))


PRESETS = Command("presets", "list the shipped recipes, or print one", _add_arguments, _run)
