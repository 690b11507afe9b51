"""The last rule that matches a layer decides: for all layers of a checkpoint at once, or for single layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.layer_matcher import LayerMatcher, is_name, matcher
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment


@dataclass(frozen=True)
class UnmatchedPattern:
    """A pattern that names no layer. rule: index into the recipe's rules; key: where the pattern stands in it."""

    rule: int
    key: Literal["target", "ignore"]
    pattern: str


@dataclass(frozen=True)
class Resolved:
    """rules: per layer the index of the rule that decides, -1 for none.

    turned: indices of the rules for linear layers that stand for convolutions, see `turned_to_convolutions`.
    """

    rules: tuple[int, ...]
    unmatched: tuple[UnmatchedPattern, ...]
    turned: tuple[int, ...] = ()


def turned_to_convolutions(rules: Sequence[Rule], layers: Sequence[Layer]) -> tuple[Rule, ...]:
    """The rules in which `linears` alone stands for `convolutions`, where a network has these and no linear layer."""
    kinds = {layer.kind for layer in layers if layer.compressible}
    if "linear" in kinds or "conv" not in kinds:
        return tuple(rules)
    return tuple(replace(rule, targets=("convolutions",)) if rule.targets == ("linears",) else rule for rule in rules)


def resolve(rules: Sequence[Rule], layers: Sequence[Layer]) -> Resolved:
    """Which rule decides each layer. Raises RecipeError for a pattern that cannot be understood."""
    known = LayerMatcher(layers)
    decided = [-1] * len(layers)
    unmatched: list[UnmatchedPattern] = []
    meant = turned_to_convolutions(rules, layers)
    for number, rule in enumerate(meant):
        hits, missed = known.find(rule.targets)
        ignored, missed_ignores = known.find(rule.ignore)
        unmatched += [UnmatchedPattern(number, "target", pattern) for pattern in missed]
        unmatched += [UnmatchedPattern(number, "ignore", pattern) for pattern in missed_ignores]
        for index in hits - ignored:
            decided[index] = number
    turned = (number for number, (asked, found) in enumerate(zip(rules, meant, strict=True)) if asked is not found)
    return Resolved(tuple(decided), tuple(unmatched), tuple(turned))


class _Matches:
    """One list of patterns: plain names in a set, the rest as tests."""

    def __init__(self, patterns: tuple[str, ...], blocks: int) -> None:
        self._names = {pattern for pattern in patterns if is_name(pattern)}
        self.tests: list[Callable[[Layer], bool]] = []
        for pattern in patterns:
            if pattern not in self._names:
                self.tests.append(_test(pattern, blocks))

    def __call__(self, layer: Layer) -> bool:
        if layer.name in self._names or layer.tensor.name in self._names:
            return True
        return any(test(layer) for test in self.tests)


def _test(pattern: str, blocks: int) -> Callable[[Layer], bool]:
    """The pattern's test; one that cannot be understood matches nothing here, and the plan reports it."""
    try:
        return matcher(pattern, blocks)
    except RecipeError:
        return lambda _: False


class RuleLookup:
    """A recipe made ready to be asked about single layers: the last rule that matches decides.

    Rules that only name layers one by one, as those that a budget makes do, are looked up by the name.
    """

    def __init__(self, recipe: Recipe, blocks: int) -> None:
        """blocks: how many the network has, 0 while there is none."""
        self._rules = recipe.rules
        self._named: dict[str, int] = {}
        self._tested: list[tuple[int, _Matches, _Matches]] = []
        for place, rule in enumerate(recipe.rules):
            targets = _Matches(rule.targets, blocks)
            if rule.ignore or targets.tests:
                self._tested.append((place, targets, _Matches(rule.ignore, blocks)))
            else:
                self._named.update(dict.fromkeys(rule.targets, place))
        self._tested.reverse()

    def rule_of(self, layer: Layer) -> Rule | None:
        named = max(self._named.get(layer.name, -1), self._named.get(layer.tensor.name, -1))
        for place, targets, ignore in self._tested:
            if place < named:
                break
            if targets(layer) and not ignore(layer):
                return self._rules[place]
        return self._rules[named] if named >= 0 else None

    def treatment_of(self, layer: Layer) -> Treatment:
        """KEEP for layers that no rule names and for those that cannot be compressed."""
        rule = self.rule_of(layer) if layer.compressible else None
        return rule.treatment if rule is not None else KEEP
