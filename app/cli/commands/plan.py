"""`benchvise plan`: what a recipe would do, with exact bytes, reading no weight."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator, Sequence
from itertools import chain

from benchvise.app.cli.command import Reply, Subcommand
from benchvise.app.cli.commands.budget import BudgetAnswer, add_budget, allocate_budget, budget_data, budget_lines
from benchvise.app.cli.commands.job_forecast import add_forecast, forecast_data, forecast_lines, forecast_of
from benchvise.app.cli.options import add_calibration, add_path, add_recipe, add_target, chosen_recipe, chosen_target
from benchvise.app.cli.table import number, table, text
from benchvise.core.checkpoint.open import open_checkpoint
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError
from benchvise.core.export.choose_target import plan_export
from benchvise.core.export.export_plan import ExportPlan
from benchvise.core.export.targets.registry import AUTO
from benchvise.core.protocol.budget import BYTES
from benchvise.core.recipe.plan import DROPPED, Plan, PlanRow, make_plan
from benchvise.core.recipe.recipe import Recipe
from benchvise.core.settings import to_mapping
from benchvise.core.text import byte_text
from benchvise.core.wording import MAX_LISTED, sentences


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_recipe(parser, required=False)
    add_calibration(parser)
    add_target(parser, default=AUTO)
    add_budget(parser)
    add_forecast(parser)


def _run(arguments: Namespace) -> Reply:
    shared = allocate_budget(arguments) if arguments.budget else None
    recipe = shared.allocated.recipe if shared is not None else _asked(arguments)
    plan = make_plan(open_checkpoint(arguments.path), recipe, allow_empty=shared is not None)
    export = plan_export(plan, chosen_target(arguments))
    beyond = _beyond(shared, plan, export)
    warnings = (
        *sentences((*plan.plan_warnings, *export.plan_warnings)),
        *([f"{export.refusal}."] if export.refusal else []),
        *beyond,
    )
    data = {
        "path": plan.checkpoint.path,
        "recipe": recipe.name,
        "bits_per_weight": plan.bits_per_weight,
        "bits_per_treated_weight": plan.bits_per_treated_weight,
        "bytes_before": plan.bytes_before,
        "bytes_after": plan.bytes_after,
        "calibration": None if plan.calibration is None else to_mapping(plan.calibration),
        "layers": [*map(_as_data, plan.rows()), *map(_dropped, plan.operated.dropped)],
        "export": {"target": export.target, "bytes": export.nbytes},
        "warnings": warnings,
    }
    lines = _lines(plan, export, warnings)
    if shared is not None:
        data |= budget_data(shared)
        layers = {layer.name: layer for layer in plan.checkpoint.layers}
        lines = chain(budget_lines(shared, layers, arguments.out), lines)
    job = forecast_of(arguments, recipe)
    if job is not None:
        data |= forecast_data(job)
        lines = chain(lines, forecast_lines(job))
    return Reply(data, lines)


def _beyond(shared: BudgetAnswer | None, plan: Plan, export: ExportPlan) -> Iterator[str]:
    """What a budget does not bring about."""
    if shared is None:
        return
    if not plan.treated_rows:
        yield "Nothing has to be treated: the checkpoint as it is keeps within the budget."
    elif shared.budget.kind == BYTES and export.nbytes > shared.budget.value >= plan.bytes_after:
        yield (
            f"Exported to {export.target} it takes {byte_text(export.nbytes)}, more than the budget, which the values "
            "in the workspace keep: ask for less, or for candidates that the target holds as they are."
        )


def _asked(arguments: Namespace) -> Recipe:
    if arguments.recipe is None and arguments.preset is None:
        raise RecipeError("There is nothing to plan", remedy="Give --recipe, --preset or --budget.")
    return chosen_recipe(arguments)


def _as_data(row: PlanRow) -> dict[str, object]:
    return {
        "name": row.layer.name,
        "treatment": row.treatment.tag,
        "bits_per_weight": row.bits_per_weight,
        "bytes_before": row.layer.nbytes,
        "bytes_after": row.bytes_after,
        "rule": None if row.rule is None else row.rule + 1,
    }


def _dropped(layer: Layer) -> dict[str, object]:
    return {
        "name": layer.name,
        "treatment": DROPPED,
        "bits_per_weight": 0.0,
        "bytes_before": layer.nbytes,
        "bytes_after": 0,
        "rule": None,
    }


def _lines(plan: Plan, export: ExportPlan, warnings: Sequence[str]) -> Iterator[str]:
    treated = plan.treated_rows
    columns = (text("layer"), text("treatment"), number("bits/weight"), number("before"), number("after"))
    yield from table(
        columns,
        (
            (
                row.layer.name,
                row.name,
                f"{row.bits_per_weight:.3f}",
                byte_text(row.layer.nbytes),
                byte_text(row.bytes_after),
            )
            for row in treated
        ),
    )
    yield ""
    yield from _surgery_lines(plan)
    yield f"{len(treated):,} layers treated, {plan.checkpoint.tensors - len(treated):,} kept as they are"
    yield f"{byte_text(plan.bytes_before)} → {byte_text(plan.bytes_after)} ({plan.bytes_after:,} bytes, exact)"
    yield (
        f"{plan.bits_per_weight:.3f} bits per weight over all, {plan.bits_per_treated_weight:.3f} over treated layers"
    )
    if plan.calibration is not None:
        yield f"calibration: {plan.calibration.in_words}"
    for transform in plan.recipe.transforms:
        yield f"transform: {transform.title}"
    for step in plan.recipe.tuning:
        yield f"tuning: {step.title}, {step.steps:,} steps"
    yield f"exported to {export.target}: {byte_text(export.nbytes)} of weights"
    for warning in warnings:
        yield f"warning: {warning}"


def _surgery_lines(plan: Plan) -> Iterator[str]:
    for surgery in plan.recipe.surgery:
        yield f"surgery: {surgery.title}"
    dropped = plan.operated.dropped
    if dropped:
        more = f" and {len(dropped) - MAX_LISTED} more" if len(dropped) > MAX_LISTED else ""
        names = ", ".join(layer.name for layer in dropped[:MAX_LISTED])
        yield f"{len(dropped):,} layers dropped, {byte_text(sum(layer.nbytes for layer in dropped))}: {names}{more}"
        yield "Names of layers from here on are those in the smaller network."


PLAN = Subcommand(
    "plan", "resolve a recipe on a checkpoint, or find the recipe for a budget: exact bytes", _add_arguments, _run
)
