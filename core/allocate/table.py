"""Layers × candidates: what each would weigh, and what is known of its KL increase."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchvise.core.allocate.problem import Floats
from benchvise.core.checkpoint.records import Layer
from benchvise.core.errors import RecipeError
from benchvise.core.recipe.fitting import fitted
from benchvise.core.recipe.recipe import Treatment
from benchvise.core.workspace.sensitivities import FISHER, METHODS, SensitivityFile


@dataclass(frozen=True)
class Table:
    """fitted[i][j]: treatment j as it can be carried out on layer i, None where it cannot.

    nbytes: float64 [layers, treatments], infinite where there is none.
    """

    layers: tuple[Layer, ...]
    treatments: tuple[Treatment, ...]
    fitted: tuple[tuple[Treatment | None, ...], ...]
    nbytes: Floats


def candidates(layers: Sequence[Layer], treatments: Sequence[Treatment]) -> Table:
    """Every treatment tried on every layer; one that does not fit a layer is no candidate for it."""
    found = tuple(tuple(_fitted(treatment, layer) for treatment in treatments) for layer in layers)
    nbytes = np.array(
        [
            [np.inf if fit is None else _bytes(fit, layer) for fit in row]
            for layer, row in zip(layers, found, strict=True)
        ],
        np.float64,
    ).reshape(len(layers), len(treatments))
    return Table(tuple(layers), tuple(treatments), found, nbytes)


def known_kl_increase(kl_increases: SensitivityFile, table: Table) -> tuple[Floats, Floats]:
    """(KL, share that is estimated, not measured), float64 [layers, treatments]; KL is NaN where unknown.

    What is kept adds no KL. Estimated increases are brought to the level of the measured ones by the median of their
    ratio, where both are known.
    """
    known = {method: _by_method(kl_increases, table, method) for method in METHODS}
    found, estimated = np.full(table.nbytes.shape, np.nan), np.zeros(table.nbytes.shape)
    for method, values in known.items():
        if method == FISHER:
            values = values * _level(values, found)  # noqa: PLW2901
            estimated = (np.isnan(found) & ~np.isnan(values)).astype(np.float64)
        found = np.where(np.isnan(found), values, found)
    kept = [[fit is not None and fit.keeps for fit in row] for row in table.fitted]
    return np.where(np.array(kept, bool).reshape(found.shape), 0.0, found), estimated


def _by_method(kl_increases: SensitivityFile, table: Table, method: str) -> Floats:
    known = np.full(table.nbytes.shape, np.nan)
    for i, (layer, row) in enumerate(zip(table.layers, table.fitted, strict=True)):
        for j, fit in enumerate(row):
            kl_increase = kl_increases.latest(layer.name, fit, method) if fit is not None else None
            if kl_increase is not None:
                known[i, j] = kl_increase.kl
    return known


def _level(estimated: Floats, measured: Floats) -> float:
    both = (estimated > 0) & (measured > 0) & np.isfinite(estimated) & np.isfinite(measured)
    return float(np.exp(np.median(np.log(measured[both] / estimated[both])))) if both.any() else 1.0


def _fitted(treatment: Treatment, layer: Layer) -> Treatment | None:
    try:
        return fitted(treatment, layer)[0]
    except RecipeError:
        return None


def _bytes(treatment: Treatment, layer: Layer) -> int:
    return layer.nbytes if treatment.keeps else treatment.bytes_after(layer)
