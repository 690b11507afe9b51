"""A recipe resolved on one checkpoint, with exact bytes: made from headers, without reading a weight."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from functools import cached_property

from benchvise.core.checkpoint.records import Checkpoint, Layer
from benchvise.core.checkpoint.roles import ROLES
from benchvise.core.errors import CheckpointError, RecipeError
from benchvise.core.language import message
from benchvise.core.methods.calibration import Calibration
from benchvise.core.recipe.bit_choices import keep_within_budgets
from benchvise.core.recipe.fitting import fitted, treatment_name
from benchvise.core.recipe.layer_matcher import WORDS
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import KEEP, Recipe, Treatment
from benchvise.core.recipe.resolve import UnmatchedPattern, resolve
from benchvise.core.surgery.derived import Operated
from benchvise.core.surgery.operate import operate
from benchvise.core.wording import sentences

DROPPED = "dropped"
"""What stands in the place of a treatment for layers that surgery leaves out."""


@dataclass(frozen=True, slots=True)
class PlanRow:
    """What one layer gets and what it will weigh.

    rule:   index of the rule that decided, None when none did.
    source: the layer's name in the checkpoint as it was opened, where surgery moved it; else "".
    name:   of the treatment, with what was asked where that did not fit (`treatment_name`).
    """

    layer: Layer
    treatment: Treatment
    bytes_after: int
    rule: int | None
    source: str = ""
    name: str = ""

    @property
    def bits_per_weight(self) -> float:
        """Bits per weight, scales and zero points counted; 0 for an empty tensor."""
        return 8 * self.bytes_after / self.layer.parameters if self.layer.parameters else 0.0


@dataclass(frozen=True)
class Plan:
    """One choice per layer of the checkpoint that surgery leaves, in its order.

    operated:   the checkpoint as it was opened, and what surgery makes of it; rules name layers of the former.
    treatments: the distinct treatments, already fitted to their layers; `choice[i]` indexes them for layer i.
    rules:      per layer the rule that decided, -1 for none.
    plan_warnings: every fallback, unmatched pattern and skipped layer.
    """

    operated: Operated
    recipe: Recipe
    treatments: tuple[Treatment, ...]
    choice: tuple[int, ...]
    bytes_per_layer: tuple[int, ...]
    rules: tuple[int, ...]
    plan_warnings: tuple[PlanWarning, ...]

    @property
    def checkpoint(self) -> Checkpoint:
        """The checkpoint after surgery: what is treated, counted and written."""
        return self.operated.checkpoint

    @property
    def source(self) -> Checkpoint:
        """The checkpoint as it was opened: what names the run, and what its result is compared with."""
        return self.operated.source

    def row(self, index: int) -> PlanRow:
        rule, layer = self.rules[index], self.checkpoint.layers[index]
        source = self.source.layers[self.operated.origins[index]].name
        return PlanRow(
            layer,
            self.treatments[self.choice[index]],
            self.bytes_per_layer[index],
            rule if rule >= 0 else None,
            source if source != layer.name else "",
            self.treatment_name(index),
        )

    def treatment_name(self, index: int) -> str:
        """What the treatment of layer `index` is called."""
        rule, found = self.rules[index], self.treatments[self.choice[index]]
        return treatment_name(self.recipe.rules[rule].treatment if rule >= 0 else found, found)

    def rows(self) -> Iterator[PlanRow]:
        return (self.row(index) for index in range(len(self.choice)))

    @cached_property
    def treated_rows(self) -> tuple[PlanRow, ...]:
        """The rows whose layer does not stay as it is."""
        keeps = [treatment.keeps for treatment in self.treatments]
        return tuple(self.row(index) for index, choice in enumerate(self.choice) if not keeps[choice])

    @property
    def calibration(self) -> Calibration | None:
        """The text that the job has to read; None when nothing that is planned learns from text, or nothing can."""
        if not self.checkpoint.architecture:
            return None
        whole = self.recipe.network_needs_calibration
        shared_out = any(self.recipe.rules[rule].budget is not None for rule in set(self.rules) if rule >= 0)
        needed = whole or shared_out or any(self.treatments[choice].needs_calibration for choice in set(self.choice))
        return self.recipe.calibration if needed else None

    @property
    def bytes_before(self) -> int:
        return self.source.nbytes

    @property
    def bytes_after(self) -> int:
        return sum(self.bytes_per_layer)

    @property
    def bits_per_weight(self) -> float:
        """Over all values that surgery leaves, kept layers included."""
        parameters = self.checkpoint.parameters
        return 8 * self.bytes_after / parameters if parameters else 0.0

    @property
    def bits_per_treated_weight(self) -> float:
        """Over the treated layers only: the figure that papers quote. 0 when nothing is treated."""
        rows = self.treated_rows
        parameters = sum(row.layer.parameters for row in rows)
        return 8 * sum(row.bytes_after for row in rows) / parameters if parameters else 0.0


def make_plan(checkpoint: Checkpoint, recipe: Recipe, *, allow_empty: bool = False) -> Plan:
    """Resolve `recipe` on `checkpoint`.

    allow_empty: accept a recipe that treats no layer (an editor starts with one).
    Raises RecipeError (nothing matched, a group that does not divide, surgery that cannot be carried out, …), every
    layer's problem together, and CheckpointError when the checkpoint is already quantised.
    """
    layers = checkpoint.layers
    if checkpoint.undecoded and (recipe.rules or recipe.surgery):
        raise already_quantised(checkpoint)
    for number, rule in enumerate(recipe.rules, start=1):
        rule.treatment.refuse_mismatch(f"rule {number}")
    for number, step in enumerate(recipe.tuning, start=1):
        if step.refusal:
            remedy = message("Change the step's settings, or leave it out.")
            raise RecipeError(step.refusal, where=f"tuning step {number} ({step.title})", remedy=remedy)
    resolved = resolve(recipe.rules, layers)
    plan_warnings = [_unmatched(each, checkpoint) for each in resolved.unmatched if not _needless(each)]
    plan_warnings += [PlanWarning("turned", rule=number) for number in resolved.turned]
    operated = operate(checkpoint, recipe.surgery)
    plan_warnings += _idle(operated, recipe)
    plan = _resolve(operated, recipe, [resolved.rules[origin] for origin in operated.origins], plan_warnings)
    if not allow_empty and not operated.changes and not plan.treated_rows:
        raise RecipeError(
            "The recipe treats no layer of this checkpoint",
            where=checkpoint.path,
            remedy=" ".join(sentences(plan.plan_warnings[:3]))
            or "Add a rule with targets, for example 'targets: [linears]'.",
        )
    return replace(plan, plan_warnings=(*plan.plan_warnings, *_lost_without_architecture(plan), *_untreated(plan)))


def _untreated(plan: Plan) -> Iterator[PlanWarning]:
    """Tuning steps that train what is compressed, where nothing is."""
    if plan.checkpoint.architecture and not plan.treated_rows:
        for step in plan.recipe.tuning:
            if not step.trains_kept:
                yield PlanWarning("idle", cause="tuning", asked=step.title)


def _idle(operated: Operated, recipe: Recipe) -> Iterator[PlanWarning]:
    for step, surgery in zip(operated.steps, recipe.surgery, strict=True):
        if step.checkpoint is step.source:
            yield PlanWarning("idle", cause="surgery", asked=surgery.title)


def _lost_without_architecture(plan: Plan) -> Iterator[PlanWarning]:
    """What the recipe asks of a network that runs, and plain tensors cannot give."""
    if plan.checkpoint.architecture:
        return
    layers = tuple(row.layer.name for row in plan.treated_rows if row.treatment.needs_calibration)
    if layers:
        yield PlanWarning("lost", layers, cause="calibration")
    for transform in plan.recipe.transforms:
        yield PlanWarning("lost", cause="transform", asked=transform.title)
    for step in plan.recipe.tuning:
        yield PlanWarning("lost", cause="tuning", asked=step.title)


def already_quantised(checkpoint: Checkpoint) -> CheckpointError:
    method = (checkpoint.quantization or {}).get("quant_method", "an unnamed method")
    return CheckpointError(
        f"The checkpoint is already quantised ({method})",
        where=checkpoint.path,
        remedy="Open the original checkpoint it was made from; compressing twice only adds error.",
    )


def _resolve(operated: Operated, recipe: Recipe, decided: list[int], plan_warnings: list[PlanWarning]) -> Plan:
    checkpoint = operated.checkpoint
    treatments: list[Treatment] = [KEEP]
    places: dict[Treatment, int] = {KEEP: 0}
    choice: list[int] = []
    sizes: list[int] = []
    problems: list[RecipeError] = []
    findings: dict[PlanWarning, list[str]] = {}
    for index, layer in enumerate(checkpoint.layers):
        asked = recipe.rules[decided[index]].treatment if decided[index] >= 0 else KEEP
        if not asked.keeps and not layer.compressible:
            findings.setdefault(PlanWarning("skipped"), []).append(layer.name)
            decided[index], asked = -1, KEEP
        try:
            treatment, fallbacks = fitted(asked, layer, runs=bool(checkpoint.architecture))
        except RecipeError as error:
            problems.append(error)
            continue
        for fallback in fallbacks:
            findings.setdefault(fallback, []).append(layer.name)
        if treatment not in places:
            places[treatment] = len(treatments)
            treatments.append(treatment)
        choice.append(places[treatment])
        sizes.append(layer.nbytes if treatment.keeps else treatment.bytes_after(layer))
        if treatment.scheme.allocated:
            findings.setdefault(PlanWarning("shared out", rule=decided[index]), []).append(layer.name)
        if layer.tensor.scheme and not treatment.keeps:
            findings.setdefault(PlanWarning("again", asked=layer.tensor.scheme), []).append(layer.name)
        if sizes[-1] > layer.nbytes:
            findings.setdefault(PlanWarning("larger", asked=treatment.tag), []).append(layer.name)
    if problems:
        raise _together(problems)
    shared_out = keep_within_budgets(recipe.rules, checkpoint.layers, decided, sizes)
    plan_warnings += [*(replace(found, layers=tuple(names)) for found, names in findings.items()), *shared_out]
    return Plan(operated, recipe, tuple(treatments), tuple(choice), tuple(sizes), tuple(decided), tuple(plan_warnings))


def _together(problems: list[RecipeError]) -> RecipeError:
    first = problems[0]
    if len(problems) == 1:
        return first
    names = ", ".join(problem.where for problem in problems[1:4])
    more = f" and {len(problems) - 4} more" if len(problems) > 4 else ""
    return RecipeError(f"{first.what}; likewise {names}{more}", where=first.where, remedy=first.remedy)


def _needless(found: UnmatchedPattern) -> bool:
    """Whether a rule spares a role that this network has none of: nobody has to change anything."""
    role = found.pattern.removeprefix("role:")
    return found.key == "ignore" and role != found.pattern and any(fnmatchcase(known, role) for known in ROLES)


def _unmatched(found: UnmatchedPattern, checkpoint: Checkpoint) -> PlanWarning:
    known = {*WORDS, *(f"role:{layer.role}" for layer in checkpoint.layers)}
    if len(checkpoint.layers) < 5000:  # comparing with more names takes longer than the plan itself
        known.update(layer.name for layer in checkpoint.layers)
    if found.pattern in WORDS:  # spelled right: another word may name what there is
        near = [word for word, means in WORDS.items() if word != "all" and any(map(means, checkpoint.layers))][:1]
    else:
        near = difflib.get_close_matches(found.pattern, sorted(known), n=1)
    return PlanWarning("unmatched", rule=found.rule, cause=found.key, asked=found.pattern, got=near[0] if near else "")
