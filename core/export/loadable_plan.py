"""The plan of an export that its runtime was shown to load, as far as that can be tried on this machine."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from benchvise.core.export.choose_target import choose_plan, plan_export
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.loader_modules import modules_of
from benchvise.core.export.targets.registry import target_of
from benchvise.core.recipe.plan import Plan
from benchvise.core.weights.weights import Weights


def loadable_plan(key: str, weights: Weights) -> ExportPlan:
    """As `choose_plan`, and refused where the runtime's loader does not take it; "auto" takes the next target then."""
    modules = modules_of(weights.checkpoint)
    found, _ = tried_plan(lambda tried: choose_plan(key, weights.checkpoint, weights.treatment, modules, tried))
    return found


def loadable_preview(plan: Plan, key: str) -> ExportPlan:
    """As `loadable_plan`, of a run that is not made yet."""
    modules = modules_of(plan.checkpoint)
    found, _ = tried_plan(lambda tried: plan_export(plan, key, modules, tried))
    return found


def tried_plan(planned: Callable[[Mapping[str, str]], ExportPlan]) -> tuple[ExportPlan, dict[str, str]]:
    """The plan, and what loaders said of the targets that were tried on the way, by target key, "" for "it loads".

    planned: makes the plan by what was said so far.
    """
    tried: dict[str, str] = {}
    while True:
        plan = planned(tried)
        if plan.refusal or plan.target in tried:
            return plan, tried
        answer = target_of(plan.target).trial(plan)
        if answer is None:
            return plan, tried
        tried[plan.target] = answer
        if not answer:
            return plan, tried
