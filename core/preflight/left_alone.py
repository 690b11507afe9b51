"""What the recipe leaves as it is although it holds most of the weights: convolutions that nobody named."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from benchvise.core.language import counted, message
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.recipe import Recipe

MIN_SHARE = 0.5
"""Of the weights that can be compressed: where convolutions hold less, they were hardly meant."""


def left_alone_findings(plan: Plan) -> Iterator[Finding]:
    """Convolutions that hold most of the weights, where the rules name linear layers only."""
    treated = {row.layer.name for row in plan.treated_rows}
    if not treated:
        return
    able = [layer for layer in plan.checkpoint.layers if layer.compressible]
    left = [layer for layer in able if layer.kind == "conv" and layer.name not in treated]
    share = sum(layer.parameters for layer in left) / max(1, sum(layer.parameters for layer in able))
    if not left or share < MIN_SHARE:
        return
    title = counted(len(left), "{count} convolution stays as it is", "{count} convolutions stay as they are")
    detail = message("It holds {share:.0%} of the weights that can be compressed; no rule names it.", share=share)
    fix = Fix(message("Include the convolutions"), _with_convolutions(plan.recipe))
    yield Finding("left alone", "warns", title, detail, tuple(layer.name for layer in left), (fix,))


def _with_convolutions(recipe: Recipe) -> Recipe:
    """The first rule that names linear layers names convolutions, too."""
    rules = list(recipe.rules)
    place = next((number for number, rule in enumerate(rules) if "linears" in rule.targets), 0)
    rules[place] = replace(rules[place], targets=(*rules[place].targets, "convolutions"))
    return replace(recipe, rules=tuple(rules), name="", description="")
