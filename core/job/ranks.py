"""How wide the factors of each layer are, where a rule gives a share of all its layers together.

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
from benchvise.core.blockwise.curvature import Factors
from benchvise.core.checkpoint.matrix_shape import as_matrix
from benchvise.core.progress import Progress
from benchvise.core.recipe.plan import PlanRow
from benchvise.core.recipe.recipe import KEEP, Treatment
from benchvise.core.schemes.factors import added_kl, singular_values
from benchvise.core.weights.weights import Weights

STEPS = 128
"""Ranks that are tried for a layer, at most."""


def ranks_within(
    rows: Sequence[PlanRow], weights: Weights, known: Mapping[str, Factors], progress: Progress
) -> dict[str, Treatment]:
    """The treatment of each layer, by its name, within the bytes that are planned for all of them.

    known: by layer; those that the backward pass did not see, such as experts, keep their even share. Raises Cancelled.
    """
    unseen = {row.layer.name: _of_rank(row, _even(row)) for row in rows if row.layer.name not in known}
    rows = [row for row in rows if row.layer.name in known]
    if not rows:
        return unseen
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
    return unseen | {
        row.layer.name: each[option] for row, each, option in zip(rows, options, choice.tolist(), strict=True)
    }


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
