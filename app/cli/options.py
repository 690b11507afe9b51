"""Options that several commands share."""

from __future__ import annotations

from argparse import ArgumentParser, ArgumentTypeError, Namespace
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from benchvise.core.export.targets.registry import AUTO, TARGETS, auto_for, targets
from benchvise.core.recipe.editing import set_calibration
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import Recipe, load_recipe


def add_path(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a checkpoint: a folder or a file")


def add_source(parser: ArgumentParser) -> None:
    parser.add_argument("path", metavar="PATH", help="a checkpoint, a folder that compress wrote, or run:ID")


def add_against(parser: ArgumentParser) -> None:
    parser.add_argument("--against", metavar="PATH", default="", help="the original to compare with")


def add_text(parser: ArgumentParser) -> None:
    parser.add_argument(
        "--text", metavar="FILE", default="", help="a .txt, .jsonl or .json file (default: the shipped text)"
    )


def add_calibration(parser: ArgumentParser) -> None:
    """--text: the recipe's calibration text, which `chosen_recipe` puts in place."""
    parser.add_argument(
        "--text",
        metavar="FILE",
        default="",
        help="calibration text, .txt, .jsonl or .json (default: what the recipe names)",
    )


def add_windows(parser: ArgumentParser, *, windows: int, window_tokens: int) -> None:
    parser.add_argument(
        "--windows", metavar="N", type=whole(1), default=windows, help=f"windows of text to read ({windows})"
    )
    parser.add_argument(
        "--window-tokens", metavar="N", type=whole(2), default=window_tokens, help=f"tokens a window ({window_tokens})"
    )


def add_workspace(parser: ArgumentParser) -> None:
    parser.add_argument("--workspace", metavar="DIR", default="", help="where results are kept (default: your own)")


def add_recipe(parser: ArgumentParser, *, required: bool = True) -> None:
    either = parser.add_mutually_exclusive_group(required=required)
    either.add_argument("--recipe", metavar="FILE", help="a recipe in YAML")
    either.add_argument("--preset", metavar="NAME", help="a shipped recipe; `benchvise presets` lists them")


def named_recipe(name: str) -> Recipe:
    """The recipe in the file `name`, or the shipped one of that name. Raises RecipeError."""
    is_file = Path(name).suffix in (".yaml", ".yml") or Path(name).exists()
    return load_recipe(Path(name)) if is_file else load_preset(name)


def add_target(parser: ArgumentParser, *, default: str | None, runtime: bool = True) -> None:
    """--to: a format that runtimes load, required without a default.

    runtime: also --for, the runtime that "auto" chooses a format for; one of both is enough.
    """
    keys = [*TARGETS, AUTO]
    help_text = f"{', '.join(keys[:-1])} or {AUTO} (packed where a runtime loads it, or what the name of --out says)"
    either = parser.add_mutually_exclusive_group(required=default is None) if runtime else parser
    either.add_argument("--to", metavar="TARGET", choices=keys, default=default, help=help_text)
    if runtime:
        served = dict.fromkeys(each for target in targets() for each in target.runtimes)
        help_text = f"the runtime that is to load the result, which chooses the target: {', '.join(served)}"
        either.add_argument("--for", dest="runtime", choices=[*served], default="", metavar="RUNTIME", help=help_text)


def chosen_target(arguments: Namespace) -> str:
    """The target of --to, or the key that asks for one that the runtime of --for loads."""
    return auto_for(arguments.runtime) if arguments.runtime else str(arguments.to)


def chosen_recipe(arguments: Namespace) -> Recipe:
    """The recipe that --recipe or --preset names, with the calibration text of --text. Raises RecipeError."""
    recipe = load_recipe(Path(arguments.recipe)) if arguments.recipe is not None else load_preset(arguments.preset)
    text = getattr(arguments, "text", "")
    return set_calibration(recipe, replace(recipe.calibration, text=text)) if text else recipe


def whole(least: int) -> Callable[[str], int]:
    """An option's type: a whole number not below `least`."""

    def convert(word: str) -> int:
        try:
            value = int(word)
        except ValueError:
            raise ArgumentTypeError(f"must be a whole number, not '{word}'") from None
        if value < least:
            raise ArgumentTypeError(f"must be at least {least}, not {value}")
        return value

    return convert
