"""Other recipes made from the one that is checked: what a fix puts in its place."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import replace
from typing import Any

from benchvise.core.methods.integer import Integer
from benchvise.core.methods.scheme import Scheme
from benchvise.core.methods.solver import Nearest
from benchvise.core.recipe.editing import set_calibration, set_transforms, set_tuning, treat
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment
from benchvise.core.settings import settled

Change = Callable[[Treatment], Treatment]


def changed(plan: Plan, names: Collection[str], change: Change) -> Recipe:
    """The recipe in which the layers of these names get `change` of what was asked for them.

    A rule all of whose layers are meant is changed itself; else layers are named one by one.
    """
    wanted = set(names)
    decided: dict[int, list[str]] = {}
    for row in plan.treated_rows:
        if row.rule is not None:
            decided.setdefault(row.rule, []).append(row.layer.name)
    whole = {rule for rule, layers in decided.items() if wanted.issuperset(layers)}
    rules = tuple(
        replace(rule, treatment=change(rule.treatment)) if number in whole else rule
        for number, rule in enumerate(plan.recipe.rules)
    )
    recipe = replace(plan.recipe, rules=rules, name="", description="")
    rows = [
        row for row in plan.treated_rows if row.layer.name in wanted and row.rule is not None and row.rule not in whole
    ]
    asked = [change(plan.recipe.rules[row.rule].treatment) for row in rows if row.rule is not None]
    return treat(recipe, [row.layer for row in rows], asked)


def with_treatments(plan: Plan, treatments: Mapping[str, Treatment]) -> Recipe:
    """The recipe in which the layers of these names get these treatments, named one by one."""
    layers = [layer for layer in plan.checkpoint.layers if layer.name in treatments]
    return treat(plan.recipe, layers, [treatments[layer.name] for layer in layers])


def keeping(plan: Plan, names: Collection[str]) -> Recipe:
    """The recipe that leaves these layers as they are."""
    return with_treatments(plan, dict.fromkeys(names, KEEP))


def in_every_rule(recipe: Recipe, change: Change) -> Recipe:
    """The recipe with `change` of every treatment that does something."""
    rules = tuple(
        rule if rule.treatment.keeps else replace(rule, treatment=change(rule.treatment)) for rule in recipe.rules
    )
    return replace(recipe, rules=rules, name="", description="")


def grouped(size: int) -> Change:
    """Groups of `size`, where the scheme has groups."""

    def change(treatment: Treatment) -> Treatment:
        scheme: Any = treatment.scheme  # several schemes have groups, and nothing else in common
        if not hasattr(scheme, "group_size"):
            return treatment
        return served(treatment, settled(replace(scheme, granularity="group", group_size=size)))

    return change


def per_channel(treatment: Treatment) -> Treatment:
    """One scale per output channel, where the scheme can have that."""
    scheme: Any = treatment.scheme
    if not hasattr(scheme, "granularity"):
        return treatment
    return served(treatment, settled(replace(scheme, granularity="channel")))


def with_bits(bits: int) -> Change:
    """Integers of so many bits."""

    def change(treatment: Treatment) -> Treatment:
        return replace(treatment, scheme=treatment.scheme.with_bits(bits))

    return change


def symmetric(treatment: Treatment) -> Treatment:
    """No zero points; nearest rounding where the solver needs them."""
    if treatment.scheme.elements.kind != "int":
        return treatment
    return served(treatment, treatment.scheme.without_zero_points())


def to_divisors(treatment: Treatment) -> Treatment:
    """Falling back, instead of refusing, where groups or blocks do not divide."""
    scheme: Any = treatment.scheme  # schemes with a fallback have the setting `indivisible`
    if not scheme.fallback:
        return treatment
    return replace(treatment, scheme=settled(replace(scheme, indivisible=scheme.fallback)))


def full_inputs(treatment: Treatment) -> Treatment:
    """Inputs as they are."""
    return replace(treatment, activations=None)


def integers(bits: int, size: int) -> Change:
    """Symmetric integers in groups; size 0 for one scale per channel."""
    scheme = (
        Integer(bits=bits, indivisible="divisor", group_size=size) if size else Integer(bits, granularity="channel")
    )

    def change(treatment: Treatment) -> Treatment:
        return served(treatment, settled(scheme))

    return change


def served(treatment: Treatment, scheme: Scheme) -> Treatment:
    """The treatment with another scheme, and with a solver that can serve it."""
    if not treatment.solver.refusal(scheme):
        return replace(treatment, scheme=scheme)
    return replace(treatment, scheme=scheme, solver=Nearest(clip_search="scale" in scheme.capabilities))


def without_text(recipe: Recipe) -> Recipe:
    """The recipe with nearest rounding, and without all else that looks at text."""

    def change(treatment: Treatment) -> Treatment:
        if treatment.solver.needs(treatment.scheme) != "weights":
            treatment = replace(treatment, solver=Nearest(clip_search="scale" in treatment.scheme.capabilities))
        activations = treatment.activations
        if activations is not None and activations.needs_calibration:
            treatment = replace(treatment, activations=settled(replace(activations, mode="dynamic")))
        return treatment

    transforms = tuple(transform for transform in recipe.transforms if transform.reach != "block")
    return replace(in_every_rule(recipe, change), transforms=transforms, tuning=())


def without_pattern(recipe: Recipe, number: int, key: str, pattern: str) -> Recipe:
    """The recipe whose rule `number` no longer names `pattern`; the rule goes when it names nothing any more."""
    rules: list[Rule] = []
    for place, rule in enumerate(recipe.rules):
        if place != number:
            rules.append(rule)
            continue
        targets = tuple(each for each in rule.targets if key != "target" or each != pattern)
        ignore = tuple(each for each in rule.ignore if key != "ignore" or each != pattern)
        if targets:
            rules.append(replace(rule, targets=targets, ignore=ignore))
    return replace(recipe, rules=tuple(rules), name="", description="")


def without_tuning(recipe: Recipe) -> Recipe:
    return set_tuning(recipe, ())


def streaming(recipe: Recipe) -> Recipe:
    """The recipe with nearest rounding and without transforms: each layer is read, rounded and written in pieces."""
    return set_transforms(without_text(recipe), ())


def with_windows(recipe: Recipe, windows: int) -> Recipe:
    return set_calibration(recipe, replace(recipe.calibration, windows=windows))


def with_window_tokens(recipe: Recipe, tokens: int) -> Recipe:
    return set_calibration(recipe, replace(recipe.calibration, window_tokens=tokens))


def with_text(recipe: Recipe, text: str) -> Recipe:
    return set_calibration(recipe, replace(recipe.calibration, text=text))
