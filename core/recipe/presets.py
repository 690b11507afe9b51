"""The shipped recipes."""

from __future__ import annotations

from importlib.resources import files

from core.errors import RecipeError
from core.recipe.recipe import Recipe, parse_recipe
from core.settings import did_you_mean


def preset_names() -> tuple[str, ...]:
    """Names of the shipped recipes, in the order in which they are offered."""
    folder = files("resources") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


def load_preset(name: str) -> Recipe:
    """A shipped recipe by name. Raises RecipeError with the nearest name."""
    known = preset_names()
    if name not in known:
        raise RecipeError(f"There is no preset '{name}'", remedy=did_you_mean(name, known))
    text = (files("resources") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_recipe(text, where=f"preset {name}")
