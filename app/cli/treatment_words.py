"""A treatment in a few words: as a short text, by its tag as tables show it, a preset, or YAML.

int4:g128        4-bit integers in groups of 128          int4-g128-asym-clip   colons and hyphens do as well
int8 channel     8-bit integers per output channel         50 % zeros            half of the weights zero
int3 g64 clip 40 steps to 0.5                              |w|≤0.001 → 0         all weights up to a threshold
{scheme: {method: integer, bits: 3}}                       PATH.yaml             a mapping with scheme and solver
"""

from __future__ import annotations

from pathlib import Path

import yaml

from benchvise.core.errors import RecipeError
from benchvise.core.recipe.presets import load_preset, preset_names
from benchvise.core.recipe.recipe import Treatment, parse_treatment
from benchvise.core.recipe.strict_yaml import parse_yaml
from benchvise.core.recipe.treatment_text import parse_treatment_text


def parse_treatment_words(words: str) -> Treatment:
    """The treatment that `words` name. Raises RecipeError that shows the ways to name one."""
    where = f"--treatment {words}"
    if words.lstrip().startswith("{"):
        return _from_yaml(words, where)
    if words.endswith((".yaml", ".yml")):
        return _from_file(Path(words))
    return _of_text(words)


def _of_text(words: str) -> Treatment:
    """As written, with hyphens for spaces, or as a preset's only one."""
    try:
        return parse_treatment_text(words, where="--treatment")
    except RecipeError as error:
        refusal = error
    if "-" in words:
        try:
            return parse_treatment_text(words.replace("-", " "), where="--treatment")
        except RecipeError as error:
            refusal = error
    if words in preset_names():
        return _of_preset(words)
    raise RecipeError(
        refusal.what,
        where="--treatment",
        remedy=f"{refusal.remedy} Write a text such as 'int4:g128:asym:gptq' or 'int8 channel', a preset, a .yaml "
        "file, or YAML: '{scheme: {method: integer, bits: 3}}'; `benchvise methods` lists all settings.",
    )


def _from_file(path: Path) -> Treatment:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or error
        raise RecipeError(
            f"The treatment cannot be read: {reason}", where=str(path), remedy="Check the path."
        ) from error
    return _from_yaml(text, str(path))


def _from_yaml(text: str, where: str) -> Treatment:
    try:
        mapping = parse_yaml(text)
    except yaml.YAMLError as error:
        raise RecipeError(f"The treatment is not valid YAML: {error}", where=where, remedy="Correct it.") from error
    if not isinstance(mapping, dict):
        raise RecipeError("A treatment is a mapping with the key 'scheme'", where=where, remedy="Write one.")
    return parse_treatment(mapping, where)


def _of_preset(preset: str) -> Treatment:
    recipe = load_preset(preset)
    treatments = {rule.treatment for rule in recipe.rules}
    if len(treatments) != 1:
        raise RecipeError(
            f"The preset '{preset}' holds {len(treatments)} treatments",
            where="--treatment",
            remedy="Name one by its tag; `benchvise presets` shows them.",
        )
    if recipe.surgery or recipe.transforms or recipe.tuning:
        raise RecipeError(
            f"The preset '{preset}' changes the whole network beside treating layers",
            where="--treatment",
            remedy=f"Name its treatment of single layers: '{treatments.pop().tag}'.",
        )
    return treatments.pop()
