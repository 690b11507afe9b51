"""What plan and export will not do as the recipe says, and whether the recipe does anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.targets.registry import target_of
from benchvise.core.preflight import changes
from benchvise.core.preflight.export_targets import other_targets, same_target
from benchvise.core.preflight.wording import are, capital, layers, these
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.text import byte_text
from benchvise.core.wording import reason

DEFAULT_GROUPS = (128, 64, 32)


def fallback_findings(plan: Plan, export_plan: ExportPlan) -> Iterator[Finding]:
    """One finding for each warning of the plan and of the export plan."""
    for plan_warning in plan.plan_warnings:
        yield _of_plan(plan, plan_warning)
    for plan_warning in export_plan.plan_warnings:
        yield _of_export(plan, export_plan, plan_warning)


def effect_findings(plan: Plan) -> Iterator[Finding]:
    """Whether nothing becomes smaller."""
    if plan.bytes_after < plan.bytes_before:
        return
    names = tuple(row.layer.name for row in plan.treated_rows)
    detail = f"{layers(names)} would be changed, and the checkpoint stays as large: {_change(plan)}."
    integers = Fix("Use 4-bit integers in groups of 128", _integers(plan, names))
    yield Finding("no gain", "warns", "Nothing becomes smaller", detail, names, (integers,))


def size_findings(plan: Plan, export_plan: ExportPlan) -> Iterator[Finding]:
    """How large the result will be, exactly."""
    if plan.bytes_after < plan.bytes_before:
        written = export_plan.nbytes
        where = f"; {byte_text(written)} as {export_plan.target}" if written != plan.bytes_after else ""
        title = f"{byte_text(plan.bytes_before)} → {byte_text(plan.bytes_after)}"
        yield Finding("size", "fine", title, f"{plan.bits_per_weight:.2f} bits per weight over all{where}.")


def _change(plan: Plan) -> str:
    sizes = f"{byte_text(plan.bytes_before)} → {byte_text(plan.bytes_after)}"
    return f"{sizes}, {plan.bits_per_weight:.2f} bits per weight over all"


def _of_plan(plan: Plan, plan_warning: PlanWarning) -> Finding:
    names, why = plan_warning.layers, reason(plan_warning)
    detail = f"{capital(why.rstrip('.'))}."
    match plan_warning.kind:
        case "fitted":
            fixes = tuple(_divide(plan, names)) if plan_warning.cause == "groups" else ()
            detail = "The recipe says to fall back where groups or blocks do not divide."
            return Finding("fitted", "tells", f"{layers(names)}: {why}", detail, names, fixes)
        case "inputs":
            label = f"Leave the inputs of {these(names)} as they are"
            leave = Fix(label, changes.changed(plan, names, changes.full_inputs))
            title = f"The inputs of {layers(names)} are not quantised"
            return Finding("inputs stay", "warns", title, detail, names, (leave,))
        case "skipped":
            return Finding("skipped", "tells", f"{are(names)} left alone", detail, names)
        case "larger":
            keep = Fix(f"Keep {these(names)}", changes.keeping(plan, names))
            return Finding("larger", "warns", f"{layers(names)} would become larger", detail, names, (keep,))
        case "unmatched":
            fixes = tuple(_unnamed(plan, plan_warning))
            return Finding("unmatched", "warns", "A pattern matches no layer", detail, fixes=fixes)
        case "idle":
            return Finding("unmatched", "warns", "A surgery changes nothing", detail)
    return Finding("lost", "warns", "Without an architecture, part of the recipe cannot be done", detail, names)


def _of_export(plan: Plan, export_plan: ExportPlan, plan_warning: PlanWarning) -> Finding:
    names, detail = plan_warning.layers, f"{capital(reason(plan_warning).rstrip('.'))}."
    match plan_warning.kind:
        case "everything":
            treated = tuple(row.layer.name for row in plan.treated_rows)
            integers = Fix("Use 4-bit integers in groups of 128", _integers(plan, treated))
            detail = f"Everything keeps its original dtype. {detail}"
            if not plan.checkpoint.architecture:  # whoever opens plain tensors knows what they are
                return Finding("everything dense", "tells", "The result can only be exported dense", detail, treated)
            fixes = (integers, same_target(export_plan))
            return Finding("everything dense", "warns", "Everything is written dense", detail, treated, fixes)
        case "dense":
            near = tuple(_nearest(plan, export_plan, names))
            keep = Fix(f"Keep {these(names)}", changes.keeping(plan, names))
            integers = Fix("Use 4-bit integers in groups of 128", _integers(plan, names))
            detail = f"{detail} They have the values computed here, in their original dtype."
            title = f"{are(names)} written dense"
            return Finding("written dense", "warns", title, detail, names, (*near, keep, integers))
        case "adapted":
            fix = Fix("Use symmetric scales", changes.changed(plan, names, changes.symmetric))
            title = f"{are(names)} stored in a different form, with the same values"
            return Finding("adapted", "tells", title, detail, names, (fix,))
        case "left out":
            return Finding("left out", "tells", f"{are(names)} not written", detail, names)
        case "tokenizer":
            title = "The result reads text in another way than the original, or not at all"
            return Finding("tokenizer", "warns", title, detail, fixes=other_targets(export_plan))
    leave = Fix("Leave the inputs as they are", changes.changed(plan, names, changes.full_inputs))
    title = f"The inputs of {layers(names)} are quantised in the run only"
    return Finding("inputs lost", "warns", title, detail, names, (leave, *other_targets(export_plan)))


def _divide(plan: Plan, names: tuple[str, ...]) -> Iterator[Fix]:
    """The largest default group size that divides these layers; one scale per channel where none does."""
    wanted = set(names)
    columns = [layer.matrix_shape[1] for layer in plan.checkpoint.layers if layer.name in wanted]
    size = next((size for size in (*DEFAULT_GROUPS, 16) if not any(count % size for count in columns)), None)
    if size is not None:
        yield Fix(f"Use groups of {size} (divides {these(names)})", changes.changed(plan, names, changes.grouped(size)))
    yield Fix(f"Use one scale per channel for {these(names)}", changes.changed(plan, names, changes.per_channel))


def _nearest(plan: Plan, export_plan: ExportPlan, names: tuple[str, ...]) -> Iterator[Fix]:
    """The layers with the schemes of the target that are nearest to theirs in size."""
    target, wanted = target_of(export_plan.target), set(names)
    found = {
        row.layer.name: changes.served(row.treatment, nearest)
        for row in plan.treated_rows
        if row.layer.name in wanted and (nearest := target.nearest(row.treatment.scheme, row.layer)) is not None
    }
    if found:
        tags = ", ".join(sorted({treatment.scheme.tag for treatment in found.values()}))
        yield Fix(f"Use {tags}, which {target.title} holds", changes.with_treatments(plan, found))


def _unnamed(plan: Plan, unmatched: PlanWarning) -> Iterator[Fix]:
    if unmatched.rule is not None:
        recipe = changes.without_pattern(plan.recipe, unmatched.rule, unmatched.cause, unmatched.asked)
        yield Fix(f"Remove '{unmatched.asked}'", recipe)


def _integers(plan: Plan, names: Collection[str]) -> Recipe:
    return changes.changed(plan, names, changes.integers(4, 128))
