"""What recipes leave to the run: the rank of each layer where a rule gives a share of all its layers together, and its
bits where a rule has a budget. One backward pass tells what each layer costs at the output; the decision is kept."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from benchvise.core.blockwise.blockwise_run import job_identity
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.curvature import Factors, factors
from benchvise.core.checkpoint.records import Layer
from benchvise.core.job.bits import bits_within
from benchvise.core.job.ranks import ranks_within
from benchvise.core.progress import Progress
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.plan import Plan, PlanRow, make_plan
from benchvise.core.recipe.recipe import Recipe, Rule, Treatment, load_recipe
from benchvise.core.runtime.build import load_model
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.weights import Weights
from benchvise.core.workspace.atomic_files import write_text
from benchvise.core.workspace.workspace import Workspace

WINDOWS = 32
"""Of the calibration text, that the backward pass reads."""


def decided(plan: Plan, text: CalibrationText | None, workspace: Workspace, progress: Progress) -> Plan:
    """The plan with the rank, or the bits, of every layer in its recipe; itself where nothing is left to the run.

    What was decided is kept in the workspace, so that a job that is taken up again goes on with it. Raises Cancelled,
    and CheckpointError as `load_model` does.
    """
    rows = [row for row in plan.treated_rows if row.treatment.scheme.allocated or _rule(plan, row).budget is not None]
    if not rows:
        return plan
    file = workspace.decision_file(job_identity(plan, text))
    if not file.is_file():
        write_text(file, _shared_out(plan, rows, text, progress).to_yaml())
    return replace(make_plan(plan.source, load_recipe(file)), operated=plan.operated)


def _shared_out(plan: Plan, rows: Sequence[PlanRow], text: CalibrationText | None, progress: Progress) -> Recipe:
    weights = weights_of(plan.operated)
    known = _curvature(weights, [row.layer for row in rows], text, progress)
    found: dict[str, Treatment] = {}
    for rule in dict.fromkeys(row.rule for row in rows):
        there = [row for row in rows if row.rule == rule]
        if _rule(plan, there[0]).budget is None:
            found |= ranks_within(there, weights, known, progress)
        else:
            found |= bits_within(_rule(plan, there[0]), there, weights, known, progress)
    names = {row.layer.name: row.source or row.layer.name for row in rows}
    sources = {layer.name: layer for layer in plan.source.layers}
    asked = plan.recipe
    recipe = treat(asked, [sources[names[name]] for name in found], list(found.values()))
    return replace(recipe, name=asked.name, description=asked.description)


def _rule(plan: Plan, row: PlanRow) -> Rule:
    assert row.rule is not None, "a treated layer has a rule"
    return plan.recipe.rules[row.rule]


def _curvature(
    weights: Weights, layers: Sequence[Layer], text: CalibrationText | None, progress: Progress
) -> dict[str, Factors]:
    """By the layers' names; empty where the network cannot be run."""
    if text is None:
        return {}
    model = load_model(weights, progress=progress)
    ids = text.ids[:: max(1, len(text.ids) // WINDOWS)][:WINDOWS]
    progress.note(f"Sharing bytes out over {len(layers)} layers by one backward pass over {len(ids)} samples")
    progress.start(ids.numel(), "tokens")
    return factors(model, ids, layers, progress)
