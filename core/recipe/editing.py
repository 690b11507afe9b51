"""Edits of a recipe as functions from recipe to recipe: undo goes back to the previous value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchvise.core.checkpoint.records import Layer
from benchvise.core.methods.calibration import Calibration
from benchvise.core.methods.surgery import Surgery
from benchvise.core.methods.transform import Transform
from benchvise.core.methods.tuning import Tuning
from benchvise.core.recipe.layer_matcher import is_name, naming
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment


def treat(recipe: Recipe, layers: Sequence[Layer], treatments: Sequence[Treatment]) -> Recipe:
    """The recipe in which `layers[i]` gets `treatments[i]`, by rules at the end that name the layers.

    Names are taken out of earlier rules that name layers one by one, and a treatment joins the rule that already
    gives it, so editing the same layers again and again does not grow the recipe; rules with patterns stay as the
    person wrote them.
    """
    names = {naming(name) for layer in layers for name in (layer.name, layer.tensor.name)}
    rules: list[Rule] = []
    for rule in recipe.rules:
        targets = tuple(target for target in rule.targets if target not in names)
        if targets:
            rules.append(replace(rule, targets=targets))
    grouped: dict[Treatment, list[str]] = {}
    for layer, treatment in zip(layers, treatments, strict=True):
        grouped.setdefault(treatment, []).append(naming(layer.name))
    for treatment, targets_of in grouped.items():
        place = _rule_that_gives(treatment, rules)
        if place is None:
            rules.append(Rule(tuple(targets_of), treatment))
        else:
            rules[place] = replace(rules[place], targets=(*rules[place].targets, *targets_of))
    return replace(recipe, rules=tuple(rules), name="", description="")


def set_calibration(recipe: Recipe, calibration: Calibration) -> Recipe:
    """The recipe that learns from other text. It keeps its name: the text is the person's, the methods stay."""
    return replace(recipe, calibration=calibration)


def set_transforms(recipe: Recipe, transforms: Sequence[Transform]) -> Recipe:
    """The recipe with these transforms, carried out in this order."""
    return replace(recipe, transforms=tuple(transforms), name="", description="")


def set_surgery(recipe: Recipe, surgery: Sequence[Surgery]) -> Recipe:
    """The recipe with these surgeries, carried out in this order."""
    return replace(recipe, surgery=tuple(surgery), name="", description="")


def set_tuning(recipe: Recipe, tuning: Sequence[Tuning]) -> Recipe:
    """The recipe with these tuning steps, carried out in this order."""
    return replace(recipe, tuning=tuple(tuning), name="", description="")


def _rule_that_gives(treatment: Treatment, rules: Sequence[Rule]) -> int | None:
    """The rule that layers can join without another rule deciding over them: only rules of other names come after."""
    for place in reversed(range(len(rules))):
        rule = rules[place]
        if rule.treatment == treatment and not rule.ignore and rule.budget is None:
            return place
        if not all(is_name(target) for target in rule.targets):
            return None
    return None
