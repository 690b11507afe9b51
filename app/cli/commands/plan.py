"""`benchvise plan`: what a recipe would do, with exact bytes, reading no weight."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from collections.abc import Iterator

from app.cli.command import Command, Reply
from app.cli.options import add_path, add_recipe, chosen_recipe
from app.cli.quantities import size
from app.cli.table import number, table, text
from core.checkpoint.open import open_checkpoint
from core.recipe.plan import Plan, PlanRow, make_plan


def _add_arguments(parser: ArgumentParser) -> None:
    add_path(parser)
    add_recipe(parser)


def _run(arguments: Namespace) -> Reply:
    recipe = chosen_recipe(arguments)
    plan = make_plan(open_checkpoint(arguments.path), recipe)
    data = {
        "path": plan.checkpoint.path,
        "recipe": recipe.name,
        "bits_per_weight": plan.bits_per_weight,
        "bits_per_treated_weight": plan.bits_per_treated_weight,
        "bytes_before": plan.bytes_before,
        "bytes_after": plan.bytes_after,
        "layers": [_as_data(row) for row in plan.rows()],
        "warnings": plan.warnings,
    }
    return Reply(data, _lines(plan))


def _as_data(row: PlanRow) -> dict[str, object]:
    return {
        "name": row.layer.name,
        "treatment": row.treatment.tag,
        "bits_per_weight": row.bits_per_weight,
        "bytes_before": row.layer.nbytes,
        "bytes_after": row.bytes_after,
        "rule": None if row.rule is None else row.rule + 1,
    }


def _lines(plan: Plan) -> Iterator[str]:
    treated = plan.treated()
    columns = (text("layer"), text("treatment"), number("bits/weight"), number("before"), number("after"))
    yield from table(
        columns,
        (
            (
                row.layer.name,
                row.treatment.tag,
                f"{row.bits_per_weight:.3f}",
                size(row.layer.nbytes),
                size(row.bytes_after),
            )
            for row in treated
        ),
    )
    yield ""
    yield f"{len(treated):,} layers treated, {plan.checkpoint.tensors - len(treated):,} kept as they are"
    yield f"{size(plan.bytes_before)} → {size(plan.bytes_after)} ({plan.bytes_after:,} bytes, exact)"
    yield (
        f"{plan.bits_per_weight:.3f} bits per weight over all, {plan.bits_per_treated_weight:.3f} over treated layers"
    )
    for warning in plan.warnings:
        yield f"warning: {warning}"


PLAN = Command("plan", "resolve a recipe on a checkpoint: exact bytes, reading no weight", _add_arguments, _run)
