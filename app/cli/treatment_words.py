"""A treatment in a few words: its tag as tables show it, a preset, or YAML.

int4 g128        4-bit integers in groups of 128          int4-g128-asym-clip   hyphens do as well
int8 channel     8-bit integers per output channel         50 % zeros            half of the weights zero
int3 g64 clip 40 steps to 0.5                              |w|≤0.001 → 0         all weights up to a threshold
{scheme: {method: integer, bits: 3}}                       PATH.yaml             a mapping with scheme and solver
"""

from __future__ import annotations

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path

import yaml

from core.errors import RecipeError
from core.methods.integer import Integer
from core.methods.keep import Keep
from core.methods.solver import Nearest
from core.methods.sparse import Sparse
from core.recipe.presets import load_preset, preset_names
from core.recipe.recipe import Treatment, parse_treatment
from core.recipe.strict_yaml import parse_yaml
from core.settings import settled, validate

_INTEGER = re.compile(r"int(\d+)(?: (tensor|channel|g(\d+)))?( asym)?(?: (clip.*))?")
_CLIP = re.compile(r"clip(?: (\d+) steps)?(?: to (\d*\.?\d+))?")
_ZEROS = re.compile(r"([\d.]+) ?% zeros( global)?")
_THRESHOLD = re.compile(r"\|w\| ?(?:≤|<=) ?([\d.]+(?:e[-+]?\d+)?)(?: ?→ ?0)?")


def parse_treatment_words(words: str) -> Treatment:
    """The treatment that `words` name. Raises RecipeError that shows the ways to name one."""
    where = f"--treatment {words}"
    if words.lstrip().startswith("{"):
        return _from_yaml(words, where)
    if words.endswith((".yaml", ".yml")):
        return _from_file(Path(words))
    treatment = _from_tag(" ".join(words.split())) or _from_tag(" ".join(words.replace("-", " ").split()))
    if treatment is not None:
        validate(treatment.scheme, where=where)
        validate(treatment.solver, where=where)
        return treatment
    if words in preset_names():
        return _only_treatment(words)
    raise RecipeError(
        f"'{words}' names no treatment",
        where="--treatment",
        remedy="Write a tag such as 'int4 g128', 'int8 channel' or '50 % zeros', a preset, or a .yaml file.",
    )


def _from_tag(tag: str) -> Treatment | None:
    if tag == Keep().tag:
        return Treatment(Keep())
    if found := _INTEGER.fullmatch(tag):
        bits, where, group, asymmetric, clip = found.groups()
        solver = _nearest(clip or "")
        if solver is None:
            return None
        scheme = Integer(
            bits=int(bits),
            symmetric=not asymmetric,
            granularity="tensor" if where == "tensor" else "channel" if where == "channel" else "group",
            group_size=int(group or 128),
            indivisible="divisor",
        )
        return Treatment(settled(scheme), solver)
    if found := _ZEROS.fullmatch(tag):
        percent, everywhere = found.groups()
        try:
            fraction = float(Decimal(percent) / 100)
        except InvalidOperation:
            return None
        return Treatment(Sparse(fraction=fraction, scope="global" if everywhere else "layer"))
    if found := _THRESHOLD.fullmatch(tag):
        try:
            return Treatment(Sparse(criterion="threshold", threshold=float(found[1])))
        except ValueError:
            return None
    return None


def _nearest(clip: str) -> Nearest | None:
    """The solver that the end of a tag names: "", "clip", "clip 40 steps to 0.5"; None when it names none."""
    if not clip:
        return Nearest()
    found = _CLIP.fullmatch(clip)
    if found is None:
        return None
    solver = Nearest(clip_search=True)
    steps, least = found.groups()
    return replace(
        solver,
        clip_steps=int(steps) if steps else solver.clip_steps,
        clip_least=float(least) if least else solver.clip_least,
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


def _only_treatment(preset: str) -> Treatment:
    treatments = {rule.treatment for rule in load_preset(preset).rules}
    if len(treatments) != 1:
        raise RecipeError(
            f"The preset '{preset}' holds {len(treatments)} treatments",
            where="--treatment",
            remedy="Name one by its tag; `benchvise presets` shows them.",
        )
    return treatments.pop()
