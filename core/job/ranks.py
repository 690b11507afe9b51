"""What is left to the run: how wide the factors of each layer are, where a rule gives a share of all its layers
together; and, where a rule has a budget, how many bits each layer gets (`core.job.bits`).

To second order a product of rank r adds ½ Σ σᵢ² over i > r to the KL at the output, σ the singular values of the weight
in the norm of its inputs' and its outputs' gradients' second moments. The planned bytes are shared out by that, exactly
as a budget is; a layer may also stay whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from benchvise.core.allocate.hull import ladder
from benchvise.core.allocate.problem import ChoiceProblem, Floats
from benchvise.core.allocate.solve import solve
from benchvise.core.blockwise.blockwise_run import job_identity
from benchvise.core.blockwise.calibration import CalibrationText
from benchvise.core.blockwise.curvature import Factors, factors
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.checkpoint.records import Layer
from benchvise.core.job.bits import bits_within
from benchvise.core.progress import Progress
from benchvise.core.recipe.editing import treat
from benchvise.core.recipe.plan import Plan, PlanRow, make_plan
from benchvise.core.recipe.recipe import KEEP, Recipe, Rule, Treatment, load_recipe
from benchvise.core.runtime.build import load_model
from benchvise.core.schemes.factors import added_kl, singular_values
from benchvise.core.weights.cut_weights import weights_of
from benchvise.core.weights.weights import Weights
from benchvise.core.workspace.atomic_files import write_text
from benchvise.core.workspace.workspace import Workspace

WINDOWS = 32
"""Of the calibration text, that the backward pass reads."""

STEPS = 128
"""Ranks that are tried for a layer, at most."""


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
        if _rule(plan, there[0]).budget is not None:
            found |= bits_within(_rule(plan, there[0]), there, weights, known, progress)
            continue
        found |= _within_rule([row for row in there if row.layer.name in known], weights, known, progress)
        # What the backward pass does not see, such as experts, keeps its even share.
        found |= {row.layer.name: _of_rank(row, _even(row)) for row in there if row.layer.name not in known}
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


def _within_rule(
    rows: Sequence[PlanRow], weights: Weights, known: Mapping[str, Factors], progress: Progress
) -> dict[str, Treatment]:
    """The treatment of each layer, by its name, within the bytes that are planned for all of them."""
    if not rows:
        return {}
    kl, cost, options = [], [], []
    for row in rows:
        progress.check_cancelled()
        of_layer = known[row.layer.name]
        matrix = as_matrix(row.layer, weights.dense(row.layer))
        values = singular_values(matrix, of_layer.inputs.cpu(), of_layer.gradients.cpu())
        ranks = _ranks(row)
        treatments = [_of_rank(row, rank) for rank in ranks]
        options.append([*treatments, KEEP])
        kl.append([*added_kl(values).numpy()[ranks], 0.0])
        cost.append([*(treatment.bytes_after(row.layer) for treatment in treatments), row.layer.dense_nbytes])
    problem = ChoiceProblem(_padded(kl), _padded(cost))
    choice = solve(ladder(problem), float(sum(row.bytes_after for row in rows))).choice
    return {row.layer.name: each[option] for row, each, option in zip(rows, options, choice.tolist(), strict=True)}


def _ranks(row: PlanRow) -> list[int]:
    """Some of all ranks that pay, the even share among them."""
    most = row.treatment.scheme.largest_inner_width(row.layer)
    return sorted({_even(row), *np.linspace(1, most, min(most, STEPS)).round().astype(int).tolist()})


def _even(row: PlanRow) -> int:
    return row.treatment.scheme.inner_width(*row.layer.matrix_shape)


def _of_rank(row: PlanRow, rank: int) -> Treatment:
    return replace(row.treatment, scheme=row.treatment.scheme.with_inner_width(rank))


def _padded(rows: Sequence[Sequence[float]]) -> Floats:
    """Rows of different length as one array, infinite where one has no more."""
    found = np.full((len(rows), max(map(len, rows))), np.inf)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found
