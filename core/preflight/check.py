"""The pre-flight check: all findings, each with fixes that were tried on the plan."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from benchvise.core.checkpoint.records import Checkpoint
from benchvise.core.errors import CheckpointError, UserError
from benchvise.core.export.choose_target import key_for, plan_export
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.preflight.cluster import cluster_findings
from benchvise.core.preflight.export_targets import target_findings, trial_findings
from benchvise.core.preflight.facts import Facts
from benchvise.core.preflight.fallbacks import effect_findings, fallback_findings, size_findings
from benchvise.core.preflight.left_alone import left_alone_findings
from benchvise.core.preflight.loading import loading_findings
from benchvise.core.preflight.refused import refused_recipe
from benchvise.core.preflight.resources import disk_findings, memory_findings, time_findings
from benchvise.core.preflight.runtimes import Runtime, runtime_of
from benchvise.core.preflight.speed import dense_findings, speed_findings
from benchvise.core.preflight.text import surprise_findings, text_findings, training_findings
from benchvise.core.protocol.requests import CheckRecipe
from benchvise.core.protocol.results import Checked, Finding, Fix
from benchvise.core.recipe.plan import Plan, make_plan
from benchvise.core.recipe.recipe import Recipe

LEVELS = ("blocks", "warns", "tells", "fine")
MAX_FIXES = 4


@dataclass(frozen=True)
class _CheckContext:
    """What stays the same while fixes are tried."""

    checkpoint: Checkpoint
    target: str
    runtime: Runtime | None
    facts: Facts = field(default_factory=Facts)


def check_recipe(checkpoint: Checkpoint, request: CheckRecipe, gather: Callable[[Plan], Facts]) -> Checked:
    """Everything a person should know before the request's recipe is carried out on the checkpoint.

    gather: what has to be known of text, network and machine, for a plan that can be made.
    Raises OutputError for a target and UserError for a runtime that there is not.
    """
    runtime = runtime_of(request.runtime) if request.runtime else None
    target = key_for(request.target, request.out, request.runtime)
    context = _CheckContext(checkpoint, target, runtime)
    try:
        plan = make_plan(checkpoint, request.recipe)
    except CheckpointError as error:
        return _checked((Finding("checkpoint", "blocks", error.what, error.remedy),), (), request)
    except UserError as error:
        finding = refused_recipe(checkpoint, request.recipe, error)
        return _checked((replace(finding, fixes=finding.fixes[:MAX_FIXES]),), (), request)
    facts = gather(plan)
    context = replace(context, facts=facts)
    export_plan = plan_export(plan, target, facts.modules, facts.tried)
    structure = tuple(_of_structure(plan, export_plan))
    loading = tuple(_of_runtime(plan, export_plan, runtime))
    job = (*structure, *_of_job(plan, export_plan, facts, request))
    return _checked(
        [_proven(finding, context, request.recipe, (*structure, *loading)) for finding in job],
        [_proven(finding, context, request.recipe, (*structure, *loading)) for finding in loading],
        request,
    )


def _of_structure(plan: Plan, export_plan: ExportPlan) -> Iterator[Finding]:
    yield from fallback_findings(plan, export_plan)
    yield from target_findings(export_plan)
    yield from effect_findings(plan)
    yield from left_alone_findings(plan)


def _of_runtime(plan: Plan, export_plan: ExportPlan, runtime: Runtime | None) -> Iterator[Finding]:
    if runtime is not None:
        yield from loading_findings(plan, export_plan, runtime)
        yield from speed_findings(export_plan, runtime)


def _of_job(plan: Plan, export_plan: ExportPlan, facts: Facts, request: CheckRecipe) -> Iterator[Finding]:
    yield from size_findings(plan, export_plan)
    yield from text_findings(plan, facts)
    yield from training_findings(plan, facts)
    yield from surprise_findings(plan, facts)
    yield from trial_findings(export_plan, facts)
    if not request.runtime:  # who names another runtime does not ask about this one
        yield from dense_findings(facts)
    yield from cluster_findings(facts, request)
    if request.path:
        yield from disk_findings(plan, export_plan, request, facts)
        yield from memory_findings(plan, facts)
        yield from time_findings(facts)


def _proven(finding: Finding, context: _CheckContext, recipe: Recipe, before: Sequence[Finding]) -> Finding:
    """The finding with those of its fixes that do away with it, and that block nothing instead."""
    blocked = {each.kind for each in before if each.level == "blocks"}
    fixes: list[Fix] = []
    tried: set[tuple[Recipe, str]] = set()
    for fix in finding.fixes:
        edit = (fix.recipe or recipe, fix.target or context.target)
        if len(fixes) < MAX_FIXES and edit not in tried and _fixes(finding, context, edit, blocked):
            fixes.append(fix)
        tried.add(edit)
    return replace(finding, fixes=tuple(fixes))


def _fixes(finding: Finding, context: _CheckContext, edit: tuple[Recipe, str], blocked: set[str]) -> bool:
    recipe, target = edit
    try:
        plan = make_plan(context.checkpoint, recipe)
    except UserError:
        return False
    export_plan = plan_export(plan, target, context.facts.modules, context.facts.tried)
    after = (*_of_structure(plan, export_plan), *_of_runtime(plan, export_plan, context.runtime))
    if any(each.level == "blocks" and each.kind not in blocked for each in after):
        return False
    return not any(_same_subject(each, finding) for each in after)


def _same_subject(one: Finding, other: Finding) -> bool:
    """Whether two findings, of a recipe and of its fixed form, are about the same."""
    if one.kind != other.kind:
        return False
    return not one.layers or not other.layers or not set(one.layers).isdisjoint(other.layers)


def _checked(job: Sequence[Finding], loading: Sequence[Finding], request: CheckRecipe) -> Checked:
    findings = sorted((*job, *loading), key=lambda finding: LEVELS.index(finding.level))
    may_run = all(finding.level != "blocks" for finding in job)
    loads = may_run and all(finding.level != "blocks" for finding in loading)
    return Checked(tuple(findings), request.runtime, may_run, loads)
