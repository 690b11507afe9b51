"""The best treatment for each layer within a budget."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchvise.core.allocate.hull import Ladder, ladder
from benchvise.core.allocate.memory import cache_bytes
from benchvise.core.allocate.prediction import Prediction
from benchvise.core.allocate.prepared import Prepared, prepare
from benchvise.core.allocate.problem import Choice, Floats
from benchvise.core.allocate.solve import AllocationSolution, solve
from benchvise.core.checkpoint.identity import checkpoint_identity
from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.errors import RecipeError
from benchvise.core.protocol.budget import BITS, BYTES, DIVERGENCE, LATENCY, MEMORY, Budget
from benchvise.core.protocol.requests import Allocate
from benchvise.core.protocol.results import Allocated, Alternatives, Estimate, Front, Planned
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from benchvise.core.recipe.resolve import resolve
from benchvise.core.surgery.derived import Operated
from benchvise.core.surgery.operate import operate
from benchvise.core.text import byte_text
from benchvise.core.workspace.sensitivities import load_sensitivities
from benchvise.core.workspace.workspace import Workspace

FRONT_POINTS = 400


@dataclass(frozen=True)
class BudgetSolution:
    """An `Allocated` but for its plan."""

    prepared: Prepared
    choice: Choice
    recipe: Recipe
    added: float
    cost: float
    price: float
    steps: Ladder
    offset: float
    notes: tuple[str, ...]

    def answer(self, planned: Planned) -> Allocated:
        prepared, prediction = self.prepared, self.prepared.prediction
        rows = np.arange(len(self.choice))
        points = _thinned(len(self.steps.cost))
        time = None
        if prepared.costs is not None:
            value = self.cost
            time = Estimate(value, value * (1 - prepared.costs.spread), value * (1 + prepared.costs.spread))
        kl = prediction.of(self.added)
        return Allocated(
            layers=tuple(layer.name for layer in prepared.table.layers),
            tags=tuple(treatment.tag for treatment in prepared.table.treatments),
            keys=tuple(treatment.key for treatment in prepared.table.treatments),
            choice=self.choice.astype(np.int32),
            recipe=self.recipe,
            planned=planned,
            kl=kl,
            cost=self.cost,
            price=self.price * _slope(prediction, self.added),
            kl_increase=_shares(prepared.kl_increase[rows, self.choice], kl.value),
            front=Front(
                "bytes" if prepared.costs is None else "ms",
                self.steps.cost[points] + self.offset,
                prediction.values(self.steps.kl_increase[points]),
            ),
            better=_alternatives(self, better=True),
            cheaper=_alternatives(self, better=False),
            latency_ms=time,
            notes=(*prepared.notes, *self.notes),
        )


class Allocator:
    """Allocates again and again: what does not depend on the budget is prepared once. Threads take turns."""

    def __init__(self) -> None:
        self._last: tuple[object, Prepared] | None = None
        self._of: Checkpoint | None = None

    def allocate(self, request: Allocate, checkpoint: Checkpoint) -> BudgetSolution:
        """Raises RecipeError for a budget that cannot be met, naming the nearest that can, as `prepare` does, and for
        surgery that cannot be carried out;
        UserError when what was measured belongs to other weights.
        """
        operated = operate(checkpoint, request.base_recipe.surgery)
        left = operated.named_as_source
        prepared = self._prepared(request, operated)
        budget = request.budget
        others = 0 if budget.kind in (BITS, LATENCY) else _bytes_of_others(prepared, left, request.base_recipe)
        steps = prepared.by_time if budget.kind == LATENCY else prepared.by_bytes
        offset = _beside(prepared, operated, budget, others)
        solution, notes = _solved(prepared, steps, budget, offset)
        choice = prepared.spread_out(solution.choice)
        layers = prepared.table.layers
        treatments = [prepared.table.treatments[option] for option in choice]
        cost = prepared.milliseconds if budget.kind == LATENCY else prepared.nbytes
        return BudgetSolution(
            prepared,
            choice,
            treat(request.base_recipe, layers, treatments),
            float(prepared.kl_increase[np.arange(len(choice)), choice].sum()),
            float(cost[np.arange(len(choice)), choice].sum()) + offset,
            solution.price,
            steps,
            offset,
            notes,
        )

    def _prepared(self, request: Allocate, operated: Operated) -> Prepared:
        checkpoint = operated.source
        file = Workspace(request.workspace).sensitivity_file(request.sensitivity)
        stamp = file.stat().st_mtime_ns if file.is_file() else 0
        by_time = request.budget.kind == LATENCY
        surgery = Recipe(surgery=request.base_recipe.surgery)
        asked = replace(request, base_recipe=surgery, budget=Budget(LATENCY if by_time else BYTES, 0.0))
        key = (asked, stamp)
        if self._last is None or self._last[0] != key or self._of is not checkpoint:
            known = load_sensitivities(file).identity
            if known and known != checkpoint_identity(checkpoint):
                raise RecipeError(
                    "The sensitivities were measured on other weights: the checkpoint has changed since",
                    where=checkpoint.path,
                    remedy="Measure again; only layers that changed are computed anew.",
                )
            self._last, self._of = (key, prepare(request, operated)), checkpoint
        return self._last[1]


def _bytes_of_others(prepared: Prepared, checkpoint: Checkpoint, recipe: Recipe) -> int:
    """What the layers that are not allocated weigh under the recipe."""
    names = {layer.name for layer in prepared.table.layers}
    others = [layer for layer in checkpoint.layers if layer.name not in names]
    decided = resolve(recipe.rules, others).rules
    treatments = [recipe.rules[number].treatment if number >= 0 else KEEP for number in decided]
    return sum(_weight(layer, treatment) for layer, treatment in zip(others, treatments, strict=True))


def _weight(layer: Layer, treatment: Treatment) -> int:
    if treatment.keeps or not layer.compressible:
        return layer.nbytes
    return fitted(treatment, layer)[0].bytes_after(layer)


def _beside(prepared: Prepared, operated: Operated, budget: Budget, others: int) -> float:
    """What the budget also has to pay for, in the ladder's unit."""
    if budget.kind == LATENCY:
        costs = prepared.costs
        assert costs is not None
        names = {layer.name for layer in (*prepared.table.layers, *operated.dropped)}
        kept = costs.keys.index(KEEP.key) if KEEP.key in costs.keys else 0
        rest = [row for name, row in zip(costs.layers, costs.milliseconds, strict=True) if name not in names]
        return costs.rest.value + float(sum(row[kept] for row in rest))
    if budget.kind == MEMORY:
        return float(others + cache_bytes(operated.checkpoint.config, budget.context))
    return 0.0 if budget.kind == BITS else float(others)


def _solved(
    prepared: Prepared, steps: Ladder, budget: Budget, offset: float
) -> tuple[AllocationSolution, tuple[str, ...]]:
    if budget.kind == DIVERGENCE:
        return _least_bytes(prepared, steps, budget)
    limit = budget.value - offset
    if budget.kind == BITS:
        limit = budget.value * sum(layer.parameters for layer in prepared.table.layers) / 8
    if limit < steps.cost[0]:
        raise _too_small(prepared, steps, budget, offset)
    found = solve(steps, limit)
    return found, _gap_note(found)


def _least_bytes(prepared: Prepared, steps: Ladder, budget: Budget) -> tuple[AllocationSolution, tuple[str, ...]]:
    """The smallest allocation whose predicted KL is within the budget: KL increase and cost in each other's place."""
    turned = ladder(steps.problem.turned())
    limit = prepared.prediction.added_for(budget.value)
    if limit < turned.cost[0]:
        least = prepared.prediction.of(float(turned.cost[0])).value
        raise RecipeError(
            f"The divergence cannot be as small as {budget.value:g}: with what is allowed the least is ≈ {least:.2g}",
            where="budget",
            remedy=f"Ask for kl={_up(least):g} or more{_unlock(prepared)}.",
        )
    found = solve(turned, limit)
    price = 1 / found.price if found.price > 0 else 0.0
    return replace(found, kl_increase=found.cost, cost=found.kl_increase, price=price), _gap_note(found)


def _gap_note(found: AllocationSolution) -> tuple[str, ...]:
    if not found.gap:
        return ()
    return (f"An allocation better by up to {found.gap:.2%} may exist: the search was ended early",)


def _too_small(prepared: Prepared, steps: Ladder, budget: Budget, offset: float) -> RecipeError:
    least = float(steps.cost[0]) + offset
    if budget.kind == BITS:
        least = 8 * least / sum(layer.parameters for layer in prepared.table.layers)
    nearest = replace(budget, value=_up(least))
    beside = {
        LATENCY: f", {offset:.3g} ms of which are not these layers",
        MEMORY: f", {byte_text(offset)} of which are other weights and {budget.context:,} tokens of context",
        BYTES: f", {byte_text(offset)} of which are layers that are not allocated",
    }
    return RecipeError(
        f"The budget of {budget.words} cannot be met: the least that these candidates allow is {nearest.words}"
        + (beside.get(budget.kind, "") if offset else ""),
        where="budget",
        remedy=f"Ask for {nearest.words} or more, or allow smaller candidates{_unlock(prepared)}.",
    )


def _unlock(prepared: Prepared) -> str:
    hindrances = []
    if prepared.locked:
        hindrances.append(f"unlock some of the {len(prepared.locked)} locked layers")
    if prepared.fused:
        hindrances.append("do without the same treatment for fused layers")
    return "".join(f", or {each}" for each in hindrances)


def _up(value: float) -> float:
    """The value to four digits, never less than it is."""
    if value <= 0:
        return value
    unit = 10.0 ** (np.floor(np.log10(value)) - 3)
    return float(np.ceil(value / unit) * unit)


def _slope(prediction: Prediction, added: float) -> float:
    """How the predicted KL grows with the sum of KL increases."""
    value = prediction.of(added).value
    return prediction.slope * value / added if added > 0 else 1.0


def _shares(kl_increase: Floats, kl: float) -> Floats:
    """The predicted KL, divided in proportion to the KL increases."""
    total = float(kl_increase.sum())
    return kl_increase * (kl / total) if total > 0 else np.zeros_like(kl_increase)


def _thinned(count: int) -> Sequence[int]:
    if count <= FRONT_POINTS:
        return range(count)
    return [round(index * (count - 1) / (FRONT_POINTS - 1)) for index in range(FRONT_POINTS)]


def _alternatives(allocation: BudgetSolution, *, better: bool) -> Alternatives:
    """Each layer's next choice: of less damaging ones the best bargain, of cheaper ones the least regrettable."""
    problem, prepared = allocation.steps.problem, allocation.prepared
    item_choice = np.empty(problem.items, np.int64)
    item_choice[prepared.place] = allocation.choice
    rows = np.arange(problem.items)
    with np.errstate(invalid="ignore", divide="ignore"):
        cost = problem.cost - problem.cost[rows, item_choice][:, None]
        kl_increase = problem.kl_increase - problem.kl_increase[rows, item_choice][:, None]
        fits = (kl_increase < 0) & (cost > 0) if better else (cost < 0) & np.isfinite(kl_increase)
        rate = np.where(fits, -kl_increase / cost if better else kl_increase / -cost, -np.inf if better else np.inf)
    chosen = rate.argmax(axis=1) if better else rate.argmin(axis=1)
    some = fits.any(axis=1)
    before = prepared.prediction.of(allocation.added).value
    change = np.where(some, kl_increase[rows, chosen], 0.0)
    kl = prepared.prediction.values(np.maximum(0.0, allocation.added + change)) - before
    option = np.where(some, chosen, -1).astype(np.int32)
    place = prepared.place
    return Alternatives(option[place], np.where(some, cost[rows, chosen], 0.0)[place], np.where(some, kl, 0.0)[place])
