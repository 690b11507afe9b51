"""The shipped recipes, and the order in which they are offered."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

from benchvise.core.checkpoint.records import Layer, TensorEntry
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.recipe import Recipe, parse_recipe
from benchvise.core.settings import did_you_mean

_SHAPE = (4096, 4096)
_SIZES = ((2.75, "About 2 bits"), (3.75, "About 3 bits"), (6.5, "About 4 bits"), (11.0, "About 8 bits"))
_SAME_SIZE = "Pruning, file size unchanged"
_BLOCK_TYPES, _OF_BLOCK_TYPES = "GGUF types", "gguf-"


@dataclass(frozen=True)
class Preset:
    """A shipped recipe as menus and lists show it.

    bits_per_weight: of a 4096 × 4096 layer in 16 bits; the mean over the rules where there are several.
    """

    recipe: Recipe
    bits_per_weight: float

    @property
    def name(self) -> str:
        return self.recipe.name

    @property
    def group(self) -> str:
        """Presets of about one size, which is what a person chooses first; GGUF's types are a group of their own."""
        if self.name.startswith(_OF_BLOCK_TYPES):
            return _BLOCK_TYPES
        return next((group for most, group in _SIZES if self.bits_per_weight < most), _SAME_SIZE)


def presets() -> tuple[Preset, ...]:
    """All of them: large before small; in a group those that need no calibration first, then by name. Types by size."""
    made = [Preset(recipe, _bits(recipe)) for recipe in map(load_preset, preset_names())]
    groups = [*(group for _, group in reversed(_SIZES)), _SAME_SIZE, _BLOCK_TYPES]

    def place(preset: Preset) -> tuple[int, bool, float]:
        size = -preset.bits_per_weight if preset.group == _BLOCK_TYPES else 0.0
        return groups.index(preset.group), preset.recipe.needs_calibration, size

    return tuple(sorted(made, key=place))


@cache
def preset_names() -> tuple[str, ...]:
    """Names of the shipped recipes, sorted."""
    folder = files("benchvise.resources") / "presets"
    return tuple(sorted(entry.name.removesuffix(".yaml") for entry in folder.iterdir() if entry.name.endswith(".yaml")))


@cache
def load_preset(name: str) -> Recipe:
    """A shipped recipe by name. Raises RecipeError with the nearest name."""
    known = preset_names()
    if name not in known:
        raise RecipeError(f"There is no preset '{name}'", remedy=did_you_mean(name, known))
    text = (files("benchvise.resources") / "presets" / f"{name}.yaml").read_text(encoding="utf-8")
    return parse_recipe(text, where=f"preset {name}")


def _bits(recipe: Recipe) -> float:
    rows, columns = _SHAPE
    entry = TensorEntry("layer.weight", "bfloat16", _SHAPE, "", 0, 2 * rows * columns)
    layer = Layer("layer", entry, "mlp.up", "linear", 0)
    sizes = [rule.treatment.bytes_after(layer) for rule in recipe.rules]
    return 8 * sum(sizes) / len(sizes) / (rows * columns) if sizes else 16.0
