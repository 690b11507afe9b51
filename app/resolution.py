"""Which treatment the recipe gives to a layer, answered at once for the few layers that are being edited."""

from __future__ import annotations

from collections.abc import Callable

from core.checkpoint.records import Layer
from core.errors import RecipeError
from core.recipe.matching import WORDS, matcher
from core.recipe.recipe import KEEP, Recipe, Rule, Treatment

_PATTERN_MARKS = frozenset("*?[:")


class _Matches:
    """One list of patterns: plain names in a set, the rest as tests."""

    def __init__(self, patterns: tuple[str, ...]) -> None:
        self._names = {pattern for pattern in patterns if pattern not in WORDS and not _PATTERN_MARKS & set(pattern)}
        self._tests: list[Callable[[Layer], bool]] = []
        for pattern in patterns:
            if pattern not in self._names:
                self._tests.append(_test(pattern))

    def __call__(self, layer: Layer) -> bool:
        if layer.name in self._names or layer.tensor.name in self._names:
            return True
        return any(test(layer) for test in self._tests)


def _test(pattern: str) -> Callable[[Layer], bool]:
    """The pattern's test; one that cannot be understood matches nothing here, and the plan reports it."""
    try:
        return matcher(pattern)
    except RecipeError:
        return lambda _: False


class Resolution:
    """A recipe made ready to be asked about single layers: the last rule that matches decides."""

    def __init__(self, recipe: Recipe) -> None:
        self._rules = [(_Matches(rule.targets), _Matches(rule.ignore), rule) for rule in reversed(recipe.rules)]

    def rule_of(self, layer: Layer) -> Rule | None:
        for targets, ignore, rule in self._rules:
            if targets(layer) and not ignore(layer):
                return rule
        return None

    def treatment_of(self, layer: Layer) -> Treatment:
        """KEEP for layers that no rule names and for those that cannot be compressed."""
        rule = self.rule_of(layer) if layer.compressible else None
        return rule.treatment if rule is not None else KEEP
