"""How many bits each layer gets, where a rule shares a budget of bits per weight out over its layers.

What a layer under some bits adds to the KL is estimated to second order from the moments of its inputs and of its
outputs' gradients, with what its solver makes good counted in. The choice of least sum within the budget is found as
for any budget.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from benchvise.core.allocate.hull import ladder
from benchvise.core.allocate.problem import ChoiceProblem
from benchvise.core.allocate.solve import solve
from benchvise.core.blockwise.curvature import Factors
from benchvise.core.blockwise.estimated_kl import estimated
from benchvise.core.progress import Progress
from benchvise.core.recipe.bit_choices import bit_choices, even_choice
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.recipe.recipe import Rule, Treatment
from benchvise.core.weights.weights import Weights


def bits_within(
    rule: Rule, rows: Sequence[PlanRow], weights: Weights, known: Mapping[str, Factors], progress: Progress
) -> dict[str, Treatment]:
    """The treatment of each layer, by its name, within the bytes that are planned for all of them.

    known: by layer; those that the backward pass did not see get the most bits within their own share. Where the
    planned bytes are the fewest possible, every layer takes its fewest. Raises Cancelled.
    """
    budget = float(rule.budget or 0.0)
    choices = {row.layer.name: bit_choices(rule.treatment, row.layer) for row in rows}
    found = {
        row.layer.name: even_choice(choices[row.layer.name], row.layer, budget)
        for row in rows
        if row.layer.name not in known
    }
    seen = [row for row in rows if row.layer.name in known]
    room = sum(row.bytes_after for row in rows) - sum(
        found[row.layer.name].bytes_after(row.layer) for row in rows if row.layer.name in found
    )
    if not seen:
        return found
    shape = (len(seen), max(len(choices[row.layer.name]) for row in seen))
    kl_increase, cost = np.full(shape, np.inf), np.full(shape, np.inf)
    for place, row in enumerate(seen):
        for option, choice in enumerate(choices[row.layer.name]):
            progress.check_cancelled()
            kl_increase[place, option] = estimated(weights, row.layer, choice, known[row.layer.name], progress)
            cost[place, option] = choice.bytes_after(row.layer)
    steps = ladder(ChoiceProblem(kl_increase, cost))
    options = solve(steps, max(float(room), float(steps.cost[0]))).choice.tolist()
    return found | {row.layer.name: choices[row.layer.name][option] for row, option in zip(seen, options, strict=True)}
