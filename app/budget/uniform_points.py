"""What recipes that treat all layers the same cost, and what was measured of them together."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from benchvise.app.budget.kinds import Choices
from benchvise.app.plots.pareto_plot import Point
from benchvise.app.state.sensitivity_results import Measurement
from benchvise.core.language import tr
from benchvise.core.protocol.results import SensitivityCell
from benchvise.core.recipe.recipe import Treatment

_TOLERANCE = 1e-6
"""Sums of the same KL increases differ by rounding alone."""


def uniform_points(
    choices: Choices,
    treatments: Sequence[Treatment],
    measurement: Measurement | None,
    cells: Mapping[tuple[str, str], SensitivityCell],
) -> tuple[Point, ...]:
    """Only those treatments of which the correction pass measured all layers at once."""
    if measurement is None:
        return ()
    layers = {cell.layer for cell in measurement.sensitivity.cells}
    points = []
    for row, treatment in enumerate(treatments):
        found = [cells.get((layer, treatment.key)) for layer in layers]
        added = sum(cell.kl if cell is not None else math.nan for cell in found)
        measured = [
            pair.measured
            for pair in measurement.sensitivity.joint_effects
            if math.isclose(pair.added, added, rel_tol=_TOLERANCE)
        ]
        if measured:
            nbytes = choices.rest_bytes + int(choices.bytes_of[row].sum())
            points.append(Point(tr("uniform {tag}", tag=treatment.tag), treatment.tag, nbytes, measured[0]))
    return tuple(points)
