"""A recipe that cannot be planned on a checkpoint, and what would make it so."""

from __future__ import annotations

from collections.abc import Iterator

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import UserError
from benchvise.core.language import message
from benchvise.core.preflight import changes
from benchvise.core.preflight.fallbacks import DEFAULT_GROUPS
from benchvise.core.preflight.wording import these
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.presets import load_preset
from benchvise.core.recipe.recipe import KEEP, Recipe

_DEFAULT = "int4-g128"


def refused_recipe(checkpoint: Checkpoint, recipe: Recipe, error: UserError) -> Finding:
    """The refusal as a finding, with fixes that can be planned."""
    detail = error.remedy if not error.where else f"{error.where}. {error.remedy}"
    if _plan(checkpoint, recipe, allow_empty=True) is not None:
        fixes = [Fix(message("Use the preset {name}", name=_DEFAULT), load_preset(_DEFAULT))]
        return Finding("nothing", "blocks", error.what, detail, fixes=_planned(checkpoint, fixes))
    layers = _indivisible(checkpoint, recipe)
    fixes = list(_candidates(recipe, layers, checkpoint))
    return Finding(
        "recipe", "blocks", error.what, detail, tuple(layer.name for layer in layers), _planned(checkpoint, fixes)
    )


def _candidates(recipe: Recipe, layers: list[Layer], checkpoint: Checkpoint) -> Iterator[Fix]:
    for size in (*DEFAULT_GROUPS, 16):
        grouped = changes.in_every_rule(recipe, changes.grouped(size))
        if _plan(checkpoint, grouped) is not None:
            yield Fix(message("Use groups of {size} (divides all layers)", size=size), grouped)
            break
    if layers:
        yield Fix(
            message("Keep {these}", these=these([layer.name for layer in layers])),
            treat(recipe, layers, [KEEP] * len(layers)),
        )
    yield Fix(message("Fall back where groups do not divide"), changes.in_every_rule(recipe, changes.to_divisors))
    yield Fix(message("Use one scale per channel"), changes.in_every_rule(recipe, changes.per_channel))


def _indivisible(checkpoint: Checkpoint, recipe: Recipe) -> list[Layer]:
    """Layers that groups or blocks of the recipe do not divide."""
    plan = _plan(checkpoint, changes.in_every_rule(recipe, changes.to_divisors))
    if plan is None:
        return []
    fitted = {
        name for plan_warning in plan.plan_warnings if plan_warning.kind == "fitted" for name in plan_warning.layers
    }
    return [layer for layer in checkpoint.layers if layer.name in fitted]


def _planned(checkpoint: Checkpoint, fixes: list[Fix]) -> tuple[Fix, ...]:
    return tuple(fix for fix in fixes if fix.recipe is not None and _plan(checkpoint, fix.recipe) is not None)


def _plan(checkpoint: Checkpoint, recipe: Recipe, *, allow_empty: bool = False) -> Plan | None:
    try:
        return make_plan(checkpoint, recipe, allow_empty=allow_empty)
    except UserError:
        return None
