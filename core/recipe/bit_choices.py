"""What layers may get whose rule shares a budget of bits out over them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from math import ceil

from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Rule, Treatment

BITS = (2, 3, 4, 5, 6, 8)


def bit_choices(asked: Treatment, layer: Layer) -> tuple[Treatment, ...]:
    """`asked` with integers of other bits, in its groups and in none, as each fits the layer; fewest bytes first.

    Without groups few bits take few bytes on any layer; where small groups alone do not keep within a budget, these do.
    Raises RecipeError when none can be carried out on the layer.
    """
    found: dict[int, Treatment] = {}
    refusal: RecipeError | None = None
    for scheme in (asked.scheme, asked.scheme.without_groups()):
        for bits in BITS:
            try:
                choice, _ = fitted(replace(asked, scheme=scheme.with_bits(bits)), layer)
            except RecipeError as error:
                refusal = refusal or error
            else:
                found.setdefault(choice.bytes_after(layer), choice)
    if not found and refusal is not None:
        raise refusal
    return tuple(found[nbytes] for nbytes in sorted(found))


def even_choice(choices: tuple[Treatment, ...], layer: Layer, budget: float) -> Treatment:
    """The largest choice within the layer's own share of `budget` bits per weight; the smallest where none is."""
    share = budget * layer.parameters / 8
    return next((each for each in reversed(choices) if each.bytes_after(layer) <= share), choices[0])


def keep_within_budgets(
    rules: Sequence[Rule], layers: Sequence[Layer], decided: Sequence[int], sizes: list[int]
) -> tuple[PlanWarning, ...]:
    """Make `sizes`, planned bytes per layer, the even share of the budget where a rule shares one out.

    decided: per layer the index of its rule, -1 for none. Where the fewest bytes that the layers can take together are
    more than the budget, those are planned. The warnings say which layers share a budget, and where it is too small.
    """
    found = []
    fewest = _fewest_bytes()
    for number, rule in enumerate(rules):
        if rule.budget is None:
            continue
        places = [place for place, decider in enumerate(decided) if decider == number]
        least = [fewest(rule.treatment, layers[place]) for place in places]
        weights = sum(layers[place].parameters for place in places)
        over = sum(least) > rule.budget * weights / 8
        for place, nbytes in zip(places, least, strict=True):
            sizes[place] = nbytes if over else int(rule.budget * layers[place].parameters / 8)
        names = tuple(layers[place].name for place in places)
        if names:
            found.append(PlanWarning("shared out", names, number, cause="bits"))
        if over:
            bits = ceil(800 * sum(least) / weights) / 100
            found.append(PlanWarning("over budget", names, number, asked=f"{rule.budget:g}", got=f"{bits:g}"))
    return tuple(found)


def _fewest_bytes() -> Callable[[Treatment, Layer], int]:
    """A function that looks once at layers of the same shape."""
    known: dict[tuple[Treatment, tuple[int, ...], str, bool], int] = {}

    def fewest(asked: Treatment, layer: Layer) -> int:
        kind = (asked, layer.shape, layer.dtype, layer.transposed)
        if kind not in known:
            known[kind] = bit_choices(asked, layer)[0].bytes_after(layer)
        return known[kind]

    return fewest
