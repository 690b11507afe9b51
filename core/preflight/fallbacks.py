"""What plan and export will not do as the recipe says, and whether the recipe does anything."""

from __future__ import annotations

from collections.abc import Collection, Iterator

from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.targets.registry import target_of
from benchvise.core.language import capital, message
from benchvise.core.preflight import changes
from benchvise.core.preflight.export_targets import other_targets, same_target
from benchvise.core.preflight.wording import are, layers, these
from benchvise.core.protocol.results import Finding, Fix
from benchvise.core.recipe.plan import Plan
from benchvise.core.recipe.plan_warning import PlanWarning
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.text import byte_text
from benchvise.core.wording import reason

DEFAULT_GROUPS = (128, 64, 32)


_SHARED_OUT = {
    ("shared out", ""): message("The ranks of {layers} are found in the run"),
    ("shared out", "bits"): message("The bits of {layers} are found in the run"),
    ("over budget", ""): message("{layers} take more than the budget"),
}
_IDLE = {
    "surgery": message("A surgery changes nothing"),
    "tuning": message("A tuning step finds nothing that was compressed"),
}


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
    detail = message(
        "{layers} would be changed, and the checkpoint stays as large: {change}.",
        layers=layers(names),
        change=_change(plan),
    )
    integers = Fix(message("Use 4-bit integers in groups of 128"), _integers(plan, names))
    yield Finding("no gain", "warns", message("Nothing becomes smaller"), detail, names, (integers,))


def size_findings(plan: Plan, export_plan: ExportPlan) -> Iterator[Finding]:
    """How large the result will be, exactly."""
    if plan.bytes_after < plan.bytes_before:
        written = export_plan.nbytes
        where = (
            message("; {written} as {target}", written=byte_text(written), target=export_plan.target)
            if written != plan.bytes_after
            else ""
        )
        title = f"{byte_text(plan.bytes_before)} → {byte_text(plan.bytes_after)}"
        yield Finding(
            "size",
            "fine",
            title,
            message(
                "{bits_per_weight:.2f} bits per weight over all{where}.",
                bits_per_weight=plan.bits_per_weight,
                where=where,
            ),
        )


def _change(plan: Plan) -> str:
    sizes = f"{byte_text(plan.bytes_before)} → {byte_text(plan.bytes_after)}"
    return message(
        "{sizes}, {bits_per_weight:.2f} bits per weight over all", sizes=sizes, bits_per_weight=plan.bits_per_weight
    )


def _of_plan(plan: Plan, plan_warning: PlanWarning) -> Finding:
    names, why = plan_warning.layers, reason(plan_warning)
    detail = message("{sentence}.", sentence=capital(why.rstrip(".")))
    match plan_warning.kind:
        case "fitted":
            fixes = tuple(_divide(plan, names)) if plan_warning.cause == "groups" else ()
            detail = message("The recipe says to fall back where groups or blocks do not divide.")
            return Finding("fitted", "tells", f"{layers(names)}: {why}", detail, names, fixes)
        case "inputs":
            label = message("Leave the inputs of {these} as they are", these=these(names))
            leave = Fix(label, changes.changed(plan, names, changes.full_inputs))
            title = message("The inputs of {layers} are not quantised", layers=layers(names))
            return Finding("inputs stay", "warns", title, detail, names, (leave,))
        case "skipped":
            return Finding("skipped", "tells", message("{are} left alone", are=are(names)), detail, names)
        case "larger":
            keep = Fix(message("Keep {these}", these=these(names)), changes.keeping(plan, names))
            return Finding(
                "larger", "warns", message("{layers} would become larger", layers=layers(names)), detail, names, (keep,)
            )
        case "again":
            return Finding(
                "again", "tells", message("{layers} were compressed before", layers=layers(names)), detail, names
            )
        case "turned":
            return Finding("turned", "tells", message("The recipe turns to convolutions"), detail)
        case "shared out" | "over budget" as kind:
            title = message(_SHARED_OUT[kind, plan_warning.cause], layers=layers(names))
            return Finding(kind, "tells" if kind == "shared out" else "warns", title, detail, names)
        case "unmatched":
            fixes = tuple(_unnamed(plan, plan_warning))
            return Finding("unmatched", "warns", message("A pattern matches no layer"), detail, fixes=fixes)
        case "idle":
            title = _IDLE[plan_warning.cause or "surgery"]
            return Finding("unmatched", "warns", title, detail)
    return Finding(
        "lost", "warns", message("Without an architecture, part of the recipe cannot be done"), detail, names
    )


def _of_export(plan: Plan, export_plan: ExportPlan, plan_warning: PlanWarning) -> Finding:
    names, detail = plan_warning.layers, message("{sentence}.", sentence=capital(reason(plan_warning).rstrip(".")))
    match plan_warning.kind:
        case "everything":
            treated = tuple(row.layer.name for row in plan.treated_rows)
            integers = Fix(message("Use 4-bit integers in groups of 128"), _integers(plan, treated))
            detail = message("Everything keeps its original dtype. {detail}", detail=detail)
            if not plan.checkpoint.architecture:  # whoever opens plain tensors knows what they are
                return Finding(
                    "everything dense", "tells", message("The result can only be exported dense"), detail, treated
                )
            fixes = (integers, same_target(export_plan))
            return Finding("everything dense", "warns", message("Everything is written dense"), detail, treated, fixes)
        case "dense":
            near = tuple(_nearest(plan, export_plan, names))
            keep = Fix(message("Keep {these}", these=these(names)), changes.keeping(plan, names))
            integers = Fix(message("Use 4-bit integers in groups of 128"), _integers(plan, names))
            detail = message("{detail} They have the values computed here, in their original dtype.", detail=detail)
            title = message("{are} written dense", are=are(names))
            return Finding("written dense", "warns", title, detail, names, (*near, keep, integers))
        case "adapted":
            fix = Fix(message("Use symmetric scales"), changes.changed(plan, names, changes.symmetric))
            title = message("{are} stored in a different form, with the same values", are=are(names))
            return Finding("adapted", "tells", title, detail, names, (fix,))
        case "left out":
            return Finding("left out", "tells", message("{are} not written", are=are(names)), detail, names)
        case "tokenizer":
            title = message("The result reads text in another way than the original, or not at all")
            return Finding("tokenizer", "warns", title, detail, fixes=other_targets(export_plan))
    leave = Fix(message("Leave the inputs as they are"), changes.changed(plan, names, changes.full_inputs))
    title = message("The inputs of {layers} are quantised in the run only", layers=layers(names))
    return Finding("inputs lost", "warns", title, detail, names, (leave, *other_targets(export_plan)))


def _divide(plan: Plan, names: tuple[str, ...]) -> Iterator[Fix]:
    """The largest default group size that divides these layers; one scale per channel where none does."""
    wanted = set(names)
    columns = [layer.matrix_shape[1] for layer in plan.checkpoint.layers if layer.name in wanted]
    size = next((size for size in (*DEFAULT_GROUPS, 16) if not any(count % size for count in columns)), None)
    if size is not None:
        yield Fix(
            message("Use groups of {size} (divides {these})", size=size, these=these(names)),
            changes.changed(plan, names, changes.grouped(size)),
        )
    yield Fix(
        message("Use one scale per channel for {these}", these=these(names)),
        changes.changed(plan, names, changes.per_channel),
    )


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
        yield Fix(
            message("Use {tags}, which {title} holds", tags=tags, title=target.title),
            changes.with_treatments(plan, found),
        )


def _unnamed(plan: Plan, unmatched: PlanWarning) -> Iterator[Fix]:
    if unmatched.rule is not None:
        recipe = changes.without_pattern(plan.recipe, unmatched.rule, unmatched.cause, unmatched.asked)
        yield Fix(message("Remove '{asked}'", asked=unmatched.asked), recipe)


def _integers(plan: Plan, names: Collection[str]) -> Recipe:
    return changes.changed(plan, names, changes.integers(4, 128))
