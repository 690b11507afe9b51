"""Edits of a recipe as functions from recipe to recipe: undo goes back to the previous value."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from core.checkpoint.records import Layer
from core.recipe.recipe import Recipe, Rule, Treatment


def treat(recipe: Recipe, layers: Sequence[Layer], treatments: Sequence[Treatment]) -> Recipe:
    """The recipe in which `layers[i]` gets `treatments[i]`, by rules at the end that name the layers.

    Names are taken out of earlier rules that name layers one by one, so editing the same layers again and again
    does not grow the recipe; rules with patterns stay as the person wrote them.
    """
    names = {name for layer in layers for name in (layer.name, layer.tensor.name)}
    rules: list[Rule] = []
    for rule in recipe.rules:
        targets = tuple(target for target in rule.targets if target not in names)
        if targets:
            rules.append(replace(rule, targets=targets))
    grouped: dict[Treatment, list[str]] = {}
    for layer, treatment in zip(layers, treatments, strict=True):
        grouped.setdefault(treatment, []).append(layer.name)
    for treatment, targets_of in grouped.items():
        last = rules[-1] if rules else None
        if last is not None and last.treatment == treatment and not last.ignore:
            rules[-1] = replace(last, targets=(*last.targets, *targets_of))
        else:
            rules.append(Rule(tuple(targets_of), treatment))
    return replace(recipe, rules=tuple(rules), name="", description="")
